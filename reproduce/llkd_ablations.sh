#!/usr/bin/env bash
# LLKD, after Li et al. 2025 (arXiv 2411.08028): the runs of its ablations, their verdicts and their figure.
#   bash reproduce/llkd_ablations.sh               small models, data that is shipped
#   SCALE=full bash reproduce/llkd_ablations.sh    the paper's models and sets: a GPU (one of 40 GB) and the hub
# The lines are those of `tutelage reproduce llkd --scale … --dry-run`. Runs that are done are found, not done again.
set -euo pipefail
cd "$(dirname "$0")/.."
SCALE=${SCALE:-cpu}
# A run that fails ends no other: the verdicts say what is missing.
failed=0
PATH="$PWD/.venv/bin:$PATH"
case $SCALE in
cpu)
  tutelage train -m shots=2 method.pool_size=600 data=snips method=llkd evaluate.teacher=true method.training.start_updates=114 seed=1,2,3 sweep.name=reproduce-llkd-cpu || failed=1
  tutelage train -m shots=2 method.pool_size=600 data=snips method=llkd ablation=no_teacher_gate method.training.start_updates=114 seed=1,2,3 sweep.name=reproduce-llkd-cpu || failed=1
  tutelage train -m shots=2 method.pool_size=600 data=snips method=llkd ablation=no_student_gate method.training.start_updates=114 seed=1,2,3 sweep.name=reproduce-llkd-cpu || failed=1
  tutelage train -m shots=2 method.pool_size=600 data=snips method=llkd ablation=no_weights method.training.start_updates=114 seed=1,2,3 sweep.name=reproduce-llkd-cpu || failed=1
  tutelage train -m shots=2 method.pool_size=600 data=snips method=llkd ablation=global_thresholds method.training.start_updates=114 seed=1,2,3 sweep.name=reproduce-llkd-cpu || failed=1
  tutelage train -m shots=2 method.pool_size=600 data=snips method=llkd ablation=fixed_share method.training.start_updates=114 seed=1,2,3 sweep.name=reproduce-llkd-cpu || failed=1
  tutelage reproduce llkd --scale cpu --only teacher_gate_helps student_gate_helps weights_help class_thresholds_help moving_thresholds_help || failed=1
  ;;
full)
  tutelage train -m shots=2 method.pool_size=15000 teacher.model=meta-llama/Llama-3.1-8B-Instruct student.model=FacebookAI/roberta-base student.pooling=first student.head_learning_rate=2e-5 data=hub data.name=armanc/pubmed-rct20k 'data.splits.train="train[:30000]"' 'data.splits.validation="validation[:2000]"' method=llkd evaluate.teacher=true method.training.start_updates=2812 seed=1,2,3 sweep.name=reproduce-llkd-full || failed=1
  tutelage train -m shots=2 method.pool_size=15000 teacher.model=meta-llama/Llama-3.1-8B-Instruct student.model=FacebookAI/roberta-base student.pooling=first student.head_learning_rate=2e-5 data=hub data.name=armanc/pubmed-rct20k 'data.splits.train="train[:30000]"' 'data.splits.validation="validation[:2000]"' method=llkd ablation=no_teacher_gate method.training.start_updates=2812 seed=1,2,3 sweep.name=reproduce-llkd-full || failed=1
  tutelage train -m shots=2 method.pool_size=15000 teacher.model=meta-llama/Llama-3.1-8B-Instruct student.model=FacebookAI/roberta-base student.pooling=first student.head_learning_rate=2e-5 data=hub data.name=armanc/pubmed-rct20k 'data.splits.train="train[:30000]"' 'data.splits.validation="validation[:2000]"' method=llkd ablation=no_student_gate method.training.start_updates=2812 seed=1,2,3 sweep.name=reproduce-llkd-full || failed=1
  tutelage train -m shots=2 method.pool_size=15000 teacher.model=meta-llama/Llama-3.1-8B-Instruct student.model=FacebookAI/roberta-base student.pooling=first student.head_learning_rate=2e-5 data=hub data.name=armanc/pubmed-rct20k 'data.splits.train="train[:30000]"' 'data.splits.validation="validation[:2000]"' method=llkd ablation=no_weights method.training.start_updates=2812 seed=1,2,3 sweep.name=reproduce-llkd-full || failed=1
  tutelage train -m shots=2 method.pool_size=15000 teacher.model=meta-llama/Llama-3.1-8B-Instruct student.model=FacebookAI/roberta-base student.pooling=first student.head_learning_rate=2e-5 data=hub data.name=armanc/pubmed-rct20k 'data.splits.train="train[:30000]"' 'data.splits.validation="validation[:2000]"' method=llkd ablation=global_thresholds method.training.start_updates=2812 seed=1,2,3 sweep.name=reproduce-llkd-full || failed=1
  tutelage train -m shots=2 method.pool_size=15000 teacher.model=meta-llama/Llama-3.1-8B-Instruct student.model=FacebookAI/roberta-base student.pooling=first student.head_learning_rate=2e-5 data=hub data.name=armanc/pubmed-rct20k 'data.splits.train="train[:30000]"' 'data.splits.validation="validation[:2000]"' method=llkd ablation=fixed_share method.training.start_updates=2812 seed=1,2,3 sweep.name=reproduce-llkd-full || failed=1
  tutelage reproduce llkd --scale full --only teacher_gate_helps student_gate_helps weights_help class_thresholds_help moving_thresholds_help || failed=1
  ;;
*)
  echo "SCALE=$SCALE is neither cpu nor full." >&2
  exit 2
  ;;
esac
python reproduce/llkd_ablations.py "multirun_sweeps/reproduce-llkd-$SCALE"
exit "$failed"
