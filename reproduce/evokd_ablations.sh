#!/usr/bin/env bash
# EvoKD, after Liu et al. 2024 (arXiv 2403.06414): the runs of its ablations, their verdicts and their figure.
#   bash reproduce/evokd_ablations.sh               small models, data that is shipped
#   SCALE=full bash reproduce/evokd_ablations.sh    the paper's models and sets: a GPU (one of 80 GB) and the hub
# The lines are those of `tutelage reproduce evokd --scale … --dry-run`. Runs that are done are found, not done again.
set -euo pipefail
cd "$(dirname "$0")/.."
SCALE=${SCALE:-cpu}
# A run that fails ends no other: the verdicts say what is missing.
failed=0
PATH="$PWD/.venv/bin:$PATH"
case $SCALE in
cpu)
  tutelage train -m shots=1 data=snips budget.tokens=60000 method=evokd method.rounds=40 method.n_hard=28 method.n_easy=28 method.max_tokens=56 method.training.review_every=2 seed=1,2,3 sweep.name=reproduce-evokd-cpu || failed=1
  tutelage train -m shots=1 data=snips budget.tokens=60000 method=evokd method.rounds=40 method.n_hard=28 method.n_easy=28 method.max_tokens=56 method.training.review_every=2 ablation=no_correct seed=1,2,3 sweep.name=reproduce-evokd-cpu || failed=1
  tutelage train -m shots=1 data=snips budget.tokens=60000 method=evokd method.rounds=40 method.n_hard=28 method.n_easy=28 method.max_tokens=56 method.training.review_every=0 ablation=no_review seed=1,2,3 sweep.name=reproduce-evokd-cpu || failed=1
  tutelage train -m shots=1 data=snips budget.tokens=60000 method=evokd method.rounds=40 method.n_hard=28 method.n_easy=28 method.max_tokens=56 method.training.review_every=2 ablation=no_separation seed=1,2,3 sweep.name=reproduce-evokd-cpu || failed=1
  tutelage train -m shots=1 data=snips budget.tokens=60000 method=evokd method.rounds=40 method.n_hard=56 method.n_easy=0 method.max_tokens=56 method.training.review_every=2 ablation=no_easy seed=1,2,3 sweep.name=reproduce-evokd-cpu || failed=1
  tutelage reproduce evokd --scale cpu --only no_easy_costs_most correct_answers_help review_helps separation_helps || failed=1
  ;;
full)
  tutelage train -m shots=1 teacher.model=Qwen/Qwen2.5-14B-Instruct teacher.max_model_len=4096 student.model=FacebookAI/roberta-base student.head_learning_rate=2e-5 data=files data.name=inshorts data.path=data/inshorts student.pooling=first budget.tokens=500000 method=evokd selector=scored method.rounds=100 method.n_hard=8 method.n_easy=8 method.demonstrations=3 method.mistake_margin=0.0 method.max_tokens=200 method.max_words=150 method.analysis_tokens=300 seed=1,2,3,4,5 sweep.name=reproduce-evokd-full || failed=1
  tutelage train -m shots=1 teacher.model=Qwen/Qwen2.5-14B-Instruct teacher.max_model_len=4096 student.model=FacebookAI/roberta-base student.head_learning_rate=2e-5 data=files data.name=inshorts data.path=data/inshorts student.pooling=first budget.tokens=500000 method=evokd selector=scored method.rounds=100 method.n_hard=8 method.n_easy=8 method.demonstrations=3 method.mistake_margin=0.0 method.max_tokens=200 method.max_words=150 method.analysis_tokens=300 ablation=no_correct seed=1,2,3,4,5 sweep.name=reproduce-evokd-full || failed=1
  tutelage train -m shots=1 teacher.model=Qwen/Qwen2.5-14B-Instruct teacher.max_model_len=4096 student.model=FacebookAI/roberta-base student.head_learning_rate=2e-5 data=files data.name=inshorts data.path=data/inshorts student.pooling=first budget.tokens=500000 method=evokd selector=scored method.rounds=100 method.n_hard=8 method.n_easy=8 method.demonstrations=3 method.mistake_margin=0.0 method.max_tokens=200 method.max_words=150 method.analysis_tokens=300 ablation=no_review method.training.review_every=0 seed=1,2,3,4,5 sweep.name=reproduce-evokd-full || failed=1
  tutelage train -m shots=1 teacher.model=Qwen/Qwen2.5-14B-Instruct teacher.max_model_len=4096 student.model=FacebookAI/roberta-base student.head_learning_rate=2e-5 data=files data.name=inshorts data.path=data/inshorts student.pooling=first budget.tokens=500000 method=evokd selector=scored method.rounds=100 method.n_hard=8 method.n_easy=8 method.demonstrations=3 method.mistake_margin=0.0 method.max_tokens=200 method.max_words=150 method.analysis_tokens=300 ablation=no_separation seed=1,2,3,4,5 sweep.name=reproduce-evokd-full || failed=1
  tutelage train -m shots=1 teacher.model=Qwen/Qwen2.5-14B-Instruct teacher.max_model_len=4096 student.model=FacebookAI/roberta-base student.head_learning_rate=2e-5 data=files data.name=inshorts data.path=data/inshorts student.pooling=first budget.tokens=500000 method=evokd selector=scored method.rounds=100 method.n_hard=16 method.n_easy=0 method.demonstrations=3 method.mistake_margin=0.0 method.max_tokens=200 method.max_words=150 method.analysis_tokens=300 ablation=no_easy seed=1,2,3,4,5 sweep.name=reproduce-evokd-full || failed=1
  tutelage reproduce evokd --scale full --only no_easy_costs_most correct_answers_help review_helps separation_helps || failed=1
  ;;
*)
  echo "SCALE=$SCALE is neither cpu nor full." >&2
  exit 2
  ;;
esac
python reproduce/evokd_ablations.py "multirun_sweeps/reproduce-evokd-$SCALE"
exit "$failed"
