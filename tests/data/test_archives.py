"""The same images from a folder and from each kind of archive; and archives that are damaged or hostile."""

import io
import json
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image as PILImage

from score_jax.data.loader import make_loader
from score_jax.data.sources import open_source
from score_jax.data.text_tokenizers import text_tokenizer
from score_jax.errors import InputError

NAMES = [f"{kind}/{i}.png" for kind in ("cat", "dog", "emu") for i in range(7)]


def encoded(value, kind="PNG"):
    file = io.BytesIO()
    PILImage.new("RGB", (8, 8), (value, 3 * value % 256, 255 - value)).save(file, kind)
    return file.getvalue()


FILES = {name: encoded(10 * i + 1) for i, name in enumerate(NAMES)}


def opened(path, split="all", **options):
    name = str(path) if path.suffix else f"folder:{path}"
    return open_source(name, split, image_size=8, channels=3, **options)


def in_folder(path, files=FILES):
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def in_zip(path, files=FILES, **options):
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def in_tar(path, files=FILES, mode="w"):
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def colours(source):
    """Of each image, with what its label is called."""
    return [
        (tuple(row["image"][0, 0].tolist()), source.classes[row["label"]] if source.classes else None)
        for row in (source[i] for i in range(len(source)))
    ]


@pytest.mark.parametrize("split", ["all", "all[:70%]", "all[70%:]"])
def test_a_zip_and_a_tar_are_the_folder_that_they_hold(tmp_path, split):
    expected = opened(in_folder(tmp_path / "images"), split)
    assert expected.classes == ("cat", "dog", "emu")
    for path in (in_zip(tmp_path / "images.zip"), in_tar(tmp_path / "images.tar")):
        source = opened(path, split)
        assert colours(source) == colours(expected)
        assert source.labels.tolist() == expected.labels.tolist()
        assert source.content == expected.content  # so that a run goes on with either


def test_batches_of_an_archive_go_on_where_they_were(tmp_path):
    source = opened(in_tar(tmp_path / "a.tar"))
    options = {"batch_size": 4, "seed": 1, "flip": True, "process_index": 0, "process_count": 1}
    batches = make_loader(source, **options)
    seen = [next(batches)["image"] for _ in range(9)]
    again = make_loader(source, **options)
    again.set_state({"batches": 6})
    np.testing.assert_array_equal([next(again)["image"] for _ in range(3)], seen[6:])
    for loader in (batches, again):
        loader.close()


def test_edms_labels_count_and_its_folders_do_not(tmp_path):
    labels = [[name, i % 2] for i, name in enumerate(NAMES)]
    said = {"dataset.json": json.dumps({"labels": labels}).encode()}
    for path in (in_zip(tmp_path / "a.zip", FILES | said), in_folder(tmp_path / "a", FILES | said)):
        source = opened(path)
        assert source.classes == ("0", "1") and dict(zip(source.rows.files, source.labels, strict=True)) == dict(labels)
    none = {"dataset.json": b'{"labels": null}'}
    source = opened(in_zip(tmp_path / "b.zip", FILES | none))
    assert source.classes == () and source.labels is None


def test_shards_have_classes_and_captions_beside_the_images(tmp_path):
    shards = [{}, {}]
    for i, content in enumerate(FILES.values()):
        # The same keys in both shards, as some writers number them anew.
        shards[i % 2] |= {f"{i // 2:04d}.png": content, f"{i // 2:04d}.cls": str(i % 3).encode()}
        shards[i % 2] |= {f"{i // 2:04d}.txt": b"red" if i % 2 else b"green", f"{i // 2:04d}.json": b"{}"}
    (tmp_path / "shards").mkdir()
    for i, files in enumerate(shards):
        in_tar(tmp_path / "shards" / f"train-{i:04d}.tar", files)
    by_folder, by_name = opened(tmp_path / "shards"), opened(tmp_path / "shards" / "train-{0000..0001}.tar")
    assert colours(by_folder) == colours(by_name)
    expected = sorted(
        (tuple(PILImage.open(io.BytesIO(c)).getpixel((0, 0))), str(i % 3)) for i, c in enumerate(FILES.values())
    )
    assert sorted(colours(by_folder)) == expected and by_folder.classes == ("0", "1", "2")
    with_captions = opened(tmp_path / "shards", tokenizer=text_tokenizer("words", 5))
    assert {with_captions.caption(i) for i in range(len(with_captions))} == {"red", "green"}
    assert with_captions.caption(0) == ("red" if "0001" in with_captions.rows.files[0] else "green")


def test_some_classes_and_others_none_is_refused(tmp_path):
    path = in_tar(tmp_path / "a.tar", {"1.png": encoded(1), "1.cls": b"0", "2.png": encoded(2)})
    with pytest.raises(InputError, match=r"1 of 2 images has a class \(.cls\), and others none, such as '2.png'"):
        opened(path)


def table(rows=range(21)):
    pa = pytest.importorskip("pyarrow")
    images = [{"bytes": list(FILES.values())[i], "path": "/etc/passwd"} for i in rows]
    labels = pa.array([i // 7 for i in rows], pa.int64())
    names = {"info": {"features": {"label": {"names": ["cat", "dog", "emu"], "_type": "ClassLabel"}}}}
    found = pa.table({"image": images, "label": labels, "text": [f"number {i}" for i in rows]})
    return found.replace_schema_metadata({b"huggingface": json.dumps(names).encode()})


def saved(folder, rows=range(21), pieces=2):
    """As `datasets.Dataset.save_to_disk` writes."""
    import pyarrow as pa

    folder.mkdir(parents=True)
    files = [f"data-{i:05d}-of-{pieces:05d}.arrow" for i in range(pieces)]
    for i, file in enumerate(files):
        with pa.ipc.new_stream(folder / file, table().schema) as writer:
            writer.write_table(table(list(rows)[i::pieces]), max_chunksize=3)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": file} for file in files]}))
    (folder / "dataset_info.json").write_text("{}")


def test_tables_have_the_images_of_the_folder(tmp_path, monkeypatch):
    pq = pytest.importorskip("pyarrow.parquet")
    expected = sorted(colours(opened(in_folder(tmp_path / "images"))))
    pq.write_table(table(), tmp_path / "a.parquet", row_group_size=4)
    saved(tmp_path / "disk")
    (tmp_path / "hub").mkdir()
    pq.write_table(table(range(12)), tmp_path / "hub" / "train-00000-of-00002.parquet")
    pq.write_table(table(range(12, 18)), tmp_path / "hub" / "train-00001-of-00002.parquet")
    pq.write_table(table(range(18, 21)), tmp_path / "hub" / "test-00000-of-00001.parquet")
    for path in (tmp_path / "a.parquet", tmp_path / "disk", tmp_path / "hub"):
        source = opened(path)
        assert sorted(colours(source)) == expected and source.classes == ("cat", "dog", "emu")
        assert source.has_captions() is False
    assert [len(opened(tmp_path / "hub", split)) for split in ("train", "test", "train[:50%]")] == [18, 3, 9]
    monkeypatch.setenv("SCORE_JAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("score_jax.data.arrow_store._IN_MEMORY", 0)
    in_memory, in_cache = opened(tmp_path / "disk"), opened(tmp_path / "a.parquet")
    assert sorted(colours(in_cache)) == sorted(colours(in_memory)) == expected
    assert len(list((tmp_path / "cache" / "arrow").iterdir())) == 1
    captions = opened(tmp_path / "hub")
    assert captions.rows.captions is None


def test_parts_of_a_saved_data_set(tmp_path):
    pytest.importorskip("pyarrow")
    saved(tmp_path / "set" / "train", range(15))
    saved(tmp_path / "set" / "test", range(15, 21), pieces=1)
    (tmp_path / "set" / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    assert [len(opened(tmp_path / "set", split)) for split in ("train", "test", "all")] == [15, 6, 21]
    (tmp_path / "set" / "dataset_dict.json").write_text('{"splits": ["../../etc"]}')
    with pytest.raises(InputError, match=r"names '../../etc' as a part of it"):
        opened(tmp_path / "set")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"a": [1, 2]}, r"has the columns a \(int64\): expected one called image"),
        ({"a": [b"x"], "b": [b"y"]}, "expected one called image"),
        ({"image": [{"bytes": None, "path": "/etc/passwd"}]}, "image of row 0 of .* is none: expected the bytes"),
        ({"image": [b"x"], "label": [None]}, "row 0 has no label"),
    ],
)
def test_tables_that_are_no_images_are_refused(tmp_path, columns, message):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    types = {"label": pa.int64()}
    if isinstance(columns.get("image", [b""])[0], dict):
        types["image"] = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    made = pa.table({name: pa.array(values, types.get(name)) for name, values in columns.items()})
    pq.write_table(made, tmp_path / "a.parquet")
    with pytest.raises(InputError, match=message) as found:
        opened(tmp_path / "a.parquet")[0]
    assert "\n" not in str(found.value)


def test_an_lmdb_has_the_images_of_the_folder(tmp_path):
    lmdb = pytest.importorskip("lmdb")
    expected = sorted(colour for colour, _ in colours(opened(in_folder(tmp_path / "images"))))
    with (
        lmdb.open(str(tmp_path / "bedroom_train_lmdb"), map_size=2**20) as environment,
        environment.begin(write=True) as t,
    ):
        for i, content in enumerate(FILES.values()):
            t.put(f"{i:040x}".encode(), content)
    source = opened(tmp_path / "bedroom_train_lmdb")
    assert sorted(colour for colour, _ in colours(source)) == expected and source.classes == ()
    data = tmp_path / "bedroom_train_lmdb" / "data.mdb"
    data.write_bytes(b"\0" * 4096)
    with pytest.raises(InputError, match="is no LMDB of data version 1"):
        opened(tmp_path / "bedroom_train_lmdb")


def test_names_that_lead_out_and_hidden_ones_are_left_out(tmp_path, capsys):
    bad = {"../up.png": encoded(1), "/etc/up.png": encoded(2), "cat/../../up.png": encoded(3), "__MACOSX/._1.png": b"x"}
    for path in (in_zip(tmp_path / "a.zip", FILES | bad), in_tar(tmp_path / "a.tar", FILES | bad)):
        assert len(opened(path)) == 21
        said = capsys.readouterr().out
        assert "3 path that leads out of the archive" in said and "1 hidden or of the system" in said
    assert not list(tmp_path.rglob("up.png"))


def test_links_in_a_tar_are_never_followed(tmp_path, capsys):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for kind, name in (
            (tarfile.SYMTYPE, "link.png"),
            (tarfile.LNKTYPE, "hard.png"),
            (tarfile.FIFOTYPE, "pipe.png"),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
        info = tarfile.TarInfo("a.png")
        info.size = len(encoded(1))
        archive.addfile(info, io.BytesIO(encoded(1)))
    assert len(opened(tmp_path / "a.tar")) == 1
    assert "3 neither file nor folder" in capsys.readouterr().out


def test_a_zip_bomb_is_refused_before_anything_is_unpacked(tmp_path):
    bomb = in_zip(tmp_path / "a.zip", {"a.png": bytes(2**20)}, compression=zipfile.ZIP_DEFLATED)
    raw = bytearray(bomb.read_bytes())
    directory = raw.rindex(b"PK\x01\x02")
    raw[directory + 24 : directory + 28] = (2**31).to_bytes(4, "little")  # what it claims to unpack to
    bomb.write_bytes(raw)
    with pytest.raises(InputError, match=r"a.zip: its \d+ bytes would unpack to 2147483648, more than"):
        opened(bomb)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: in_zip(path).write_bytes(in_zip(path).read_bytes()[:-30]), "cut short, its end is missing"),
        (lambda path: in_tar(path).write_bytes(in_tar(path).read_bytes()[:3000]), "is cut short|no tar archive"),
        (
            lambda path: in_tar(path, mode="w:gz"),
            r"compressed by gzip \(unpack it first\): expected a folder of images, or",
        ),
        (
            lambda path: path.write_bytes(b"\xff\xd8\xff" + bytes(600)),
            "is a JPEG image: expected a folder of images, or",
        ),
        (lambda path: path.write_bytes(b"PAR1" + bytes(600)), "Cannot read .*a.zip"),
        (lambda path: path.write_bytes(b"ARROW1" + bytes(600)), "Cannot read .*a.zip"),
        (lambda path: path.write_bytes(b""), "is empty"),
        (lambda path: None, "No file .*a.zip"),
    ],
)
def test_damaged_archives_are_one_line(tmp_path, make, message):
    make(tmp_path / "a.zip")  # archives are recognised by what is in them
    with pytest.raises(InputError, match=message) as found:
        opened(tmp_path / "a.zip")
    assert "\n" not in str(found.value)


def test_a_damaged_member_names_itself(tmp_path):
    path = in_zip(tmp_path / "a.zip")
    raw = bytearray(path.read_bytes())
    place = raw.index(FILES["dog/3.png"]) + 40
    raw[place] ^= 255
    path.write_bytes(raw)
    source = opened(path)
    with pytest.raises(InputError, match=r"Cannot read 'dog/3.png' in .*a.zip"):
        source[source.rows.files.index("dog/3.png")]
    left = opened(path, leave_damaged=True)
    assert len(left) == 20 and "dog/3.png" not in left.rows.files


def test_segmentations_are_for_folders(tmp_path):
    with pytest.raises(InputError, match="data.segmentations is for folders of images"):
        opened(in_zip(tmp_path / "a.zip"), segmentations=str(tmp_path))


def test_a_damaged_header_in_the_middle_is_not_the_end(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for i in range(3):
            raw = io.BytesIO()
            PILImage.new("L", (8, 8), i).save(raw, "PNG")
            member = tarfile.TarInfo(f"{i}.png")
            member.size = raw.tell()
            raw.seek(0)
            archive.addfile(member, raw)
    whole = (tmp_path / "a.tar").read_bytes()
    (tmp_path / "damaged.tar").write_bytes(whole[:1029] + b"\xff" + whole[1030:])
    (tmp_path / "cut.tar").write_bytes(whole[:1100])
    for name in ("damaged", "cut"):
        with pytest.raises(InputError, match="the header at byte 1024 is damaged or cut short"):
            open_source(str(tmp_path / f"{name}.tar"), "all", image_size=8, channels=1)
