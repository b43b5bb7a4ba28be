#!/usr/bin/env bash
# What the papers' largest trainings need on TPU slices, by the TPU compiler, one after another into docs/plans/*.json.
# Takes hours on a small machine; what is there is not done again. Arguments name the plans to make; all of them by default:
#   nohup launch/plan_all.sh > plan_all.log 2>&1 &
#   launch/plan_all.sh cifar10 imagenet64
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
if [[ -z ${VIRTUAL_ENV:-} ]]; then
  # shellcheck source=launch/env.sh
  source launch/env.sh tpu
fi
export JAX_PLATFORMS=cpu PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"

# Of those that cannot fit as configured: the state split over all chips, and blocks recomputed.
lean=(--config.training.fsdp=0 "--config.network.remat=('residual', 'attention')" --effort=quick)

failed=0
# make NAME CONFIG TOPOLOGY [FLAG ...]
make() {
  local name=$1 config=$2 topology=$3 code
  shift 3
  if ((${#wanted[@]})) && [[ " ${wanted[*]} " != *" $name "* ]]; then
    return
  fi
  echo "== $name"
  python -m score_jax plan --config="$config" --topology="$topology" "$@" --out="docs/plans/$name.json"
  code=$?
  if ((code > 1)); then # 1: compiled, and does not fit
    echo "$name: FAILED ($code)"
    failed=1
  fi
}

wanted=("$@")
make cifar10_ddpmpp configs/score_sde/vp/cifar10_ddpmpp_continuous.py v5e:4x4 --programs=train
make cifar10_ncsnpp configs/score_sde/ve/cifar10_ncsnpp_continuous.py v5e:4x4 --programs=train
make cifar10_ddpmpp_evaluation configs/score_sde/vp/cifar10_ddpmpp_continuous.py v5e:4x4 --programs=sample,likelihood \
  --effort=quick
make imagenet64 configs/adm/imagenet64.py v5e:4x4 --programs=train "${lean[@]}"
make imagenet128 configs/adm/imagenet128.py v5e:4x4 --programs=train "${lean[@]}"
make imagenet256 configs/adm/imagenet256.py v5e:4x4 --programs=train "${lean[@]}"
make imagenet512 configs/adm/imagenet512.py v5e:4x4 --programs=train "${lean[@]}"
make celebahq1024 configs/score_sde/ve/celebahq_ncsnpp_continuous.py v5e:2x4 --programs=train "${lean[@]}"
make ldm_cin256 configs/ldm/cin.py v5e:4x4 --programs=train "${lean[@]}"
make ldm_text2img_1p4b configs/ldm/text2img_1p4b.py v5e:4x4 --programs=train "${lean[@]}" \
  --config.training.batch_size=688 # the paper's 680 is no multiple of 16
for part in clip prior decoder; do # the batches of the configs
  make "unclip_$part" "configs/unclip/paper_$part.py" v5e:8x8 --programs=train --config.training.fsdp=0 --effort=quick
done
for chip in v5e:2x4 v5p:2x2x2 v6e:2x4; do # the same eight chips of three kinds
  make "cifar10_ncsnpp_likelihood_${chip%%:*}" configs/score_sde/ve/cifar10_ncsnpp_continuous.py "$chip" \
    --programs=likelihood --effort=quick
  make "ldm_cin256_sample_${chip%%:*}" configs/ldm/cin.py "$chip" --programs=sample --effort=quick
done
for side in 2 4 8 16; do # weak scaling: eight images a chip, the state split over four chips
  make "imagenet64_weak_$((side * side))" configs/adm/imagenet64.py "v5e:${side}x$side" --programs=train --effort=quick \
    --config.training.batch_size=$((8 * side * side)) --config.training.fsdp=4 "--config.network.remat=('residual', 'attention')"
done
exit "$failed"
