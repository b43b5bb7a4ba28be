import pytest

from score_jax.data.splits import parse_split
from score_jax.errors import InputError


@pytest.mark.parametrize(
    ("text", "part", "kept"),
    [
        ("train", "train", range(50)),
        ("all[:90%]", "all", range(45)),
        ("all[90%:]", "all", range(45, 50)),
        ("all[-10%:]", "all", range(45, 50)),
        ("all[:2.5%]", "all", range(1)),
        ("val[10:20]", "val", range(10, 20)),
        ("my-part.2[:]", "my-part.2", range(50)),
        ("test[:50]", "test", range(50)),
    ],
)
def test_a_split_is_a_part_and_a_range(text, part, kept):
    split = parse_split(text, "x")
    assert split.part == part and split.cut(50, "x") == kept


def test_shares_meet_without_gap_or_overlap():
    for count in range(4, 200):
        for share in (33, 50, 71):
            first, second = (parse_split(f"all[{b}]", "x").cut(count, "x") for b in (f":{share}%", f"{share}%:"))
            assert [*first, *second] == list(range(count))


@pytest.mark.parametrize("text", ["test[10:5]", "test[5:5]", "test[:0]", "test[:1%]"])
def test_an_empty_split_is_refused(text):
    with pytest.raises(InputError, match=r"is empty: 'test' has 20 images"):
        parse_split(text, "x").cut(20, "x")


@pytest.mark.parametrize("text", ["test[:21]", "test[30:]", "test[-21:]", "test[:150%]"])
def test_a_bound_outside_of_the_part_is_refused_as_tfds_does(text):
    with pytest.raises(InputError, match=r"lies outside of 'test', which has 20 images"):
        parse_split(text, "x").cut(20, "x")


@pytest.mark.parametrize("text", ["", "train[", "train[:10%", "train[1.5:]", "train+test", "train[::2]", "a b"])
def test_what_is_no_split_is_refused(text):
    with pytest.raises(InputError, match="expected a name like"):
        parse_split(text, "x")
