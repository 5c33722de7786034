"""Settings outside their range, and combinations that do not go together."""

from __future__ import annotations

from tests.advice.cases import Case

OTHERS = "cinema:null,playlist:null,rating:null,restaurant:null,search:null"
EVOKD = ("method.rounds=1", "method.n_hard=7", "method.n_easy=7")

_SECOND = "tests.helpers.teachers.SecondTeacher"

CASES = [
    # What is asked while the student trains.
    Case(
        "training.prefetch=true asks the teacher for the next round's labels",
        ("training.prefetch=true",),
        (
            "training.prefetch=false",
            ("method=llkd_on_demand", "acquire=random"),
        ),
        about=("method.feedback=generated",),
    ),
    Case(
        "training.prefetch=true keeps replies in the cache",
        (
            "training.prefetch=true",
            "teacher.cache=null",
            "method=llkd_on_demand",
            "acquire=random",
        ),
        ("teacher.cache=auto", "training.prefetch=false"),
    ),
    # Methods.
    Case("method.n_first={} must be 0", ("method.n_first=-1",), ("method.n_first=0",)),
    Case(
        "method.texts_per_request={} must",
        ("method.texts_per_request=0",),
        ("method.texts_per_request=1",),
    ),
    Case("method.names_a_text={} must", ("method.names_a_text=0",), ("method.names_a_text=1",)),
    Case(
        "method.n_hard and method.n_easy are both 0, so",
        ("method.n_hard=0", "method.n_easy=0"),
        ("method.n_hard=7", "method.n_easy=7", ("-method.n_hard", "-method.n_easy", "method=")),
    ),
    Case(
        "method.mistake_margin={} must", ("method.mistake_margin=2",), ("method.mistake_margin=0",)
    ),
    Case(
        "method.n_pool={} labels no pool text",
        ("method.feedback=pool", "acquire=entropy", "method.n_pool=0"),
        ("method.n_pool=1", ("method.feedback=generated", "acquire=none")),
        about=("method.feedback=pool",),
    ),
    Case(
        "method.feedback=pool and mixed need a selector",
        ("method.feedback=mixed", "accept=scored"),
        ("acquire=random",),
        about=("method.feedback=pool", "acquire=none"),
    ),
    Case(
        "method={} with method.feedback={} labels no pool text",
        ("acquire=entropy",),
        ("method.feedback=pool", "acquire=none"),
        about=("method=evokd", "method.feedback=generated"),
    ),
    Case(
        "method.feedback={} labels pool texts, and method.separated=false",
        ("method.feedback=pool", "acquire=entropy", "method.separated=false"),
        ("method.separated=true", ("method.feedback=generated", "acquire=none")),
        about=("method.feedback=pool",),
    ),
    Case(
        "method.feedback={} labels none. Give method.split",
        ("method.split=bandit",),
        ("method.split=fixed", ("method.feedback=pool", "acquire=random")),
        about=("method.feedback=generated",),
    ),
    Case(
        "n_hard=0 and n_easy=0 write none",
        (
            "method.split=bandit",
            "method.feedback=pool",
            "acquire=entropy",
            "method.n_hard=0",
            "method.n_easy=0",
        ),
        ("method.split=fixed", "method.n_hard=1"),
    ),
    Case(
        "method.feedback={} is none of method={}",
        ("method=curate_train_refine", "method.feedback=none"),
        ("method.feedback=generated", "method.feedback=dev"),
        about=("method=curate_train_refine",),
    ),
    Case(
        "method.variants={} must",
        ("method=reversegen", "method.variants=[]"),
        ("method.variants=[easy]",),
    ),
    Case(
        "method.texts_per_arm={} must",
        ("method=reversegen", "method.texts_per_arm=0"),
        ("method.texts_per_arm=1",),
    ),
    Case(
        "method.keep_right={} must",
        ("method=reversegen", "method.keep_right=2"),
        ("method.keep_right=1",),
    ),
    Case(
        "method={} keeps the failures whose label",
        ("method=reversegen", "method.separated=false"),
        ("method.separated=true",),
        about=("method=reversegen",),
    ),
    Case(
        "method.seeds=loss makes every hard text",
        ("method=reversegen", "method.seeds=loss"),
        (("method.variants=[paraphrase]", "method.seeds=demonstrations"),),
        about=("method=reversegen", "method.variants"),
    ),
    Case(
        "method.validation_share={} must",
        ("method=curate_train_refine", "method.validation_share=1"),
        ("method.validation_share=0.5", ("method.validation_share=0.5", "method.feedback=dev")),
    ),
    Case(
        "method.n_pairs={} and method.class_cap={} must",
        ("method=curate_train_refine", "method.n_pairs=0", "method.class_cap=0"),
        (("method.n_pairs=1", "method.class_cap=1"),),
    ),
    Case(
        "method.n_first=0 and method.n_init=0 write no text",
        ("method=curate_train_refine", "method.n_first=0"),
        ("method.n_first=1", "method.feedback=dev"),
        about=("method.n_init=0",),
    ),
    Case(
        "method.{}={} follows the student, and method.feedback=none",
        ("method.feedback=none", "method.pairs=true"),
        ("method.feedback=generated", "method.pairs=false"),
    ),
    Case(
        "method.explanations=true explains mistakes",
        ("method.explanations=true", "method.n_wrong=0"),
        ("method.n_wrong=1", "method.explanations=false"),
    ),
    Case(
        "method.n_confident={} shows the surest mistakes",
        ("method.n_confident=2", "method.explanations=true"),
        ("method.n_confident=0", "method.class_report=true"),
    ),
    Case(
        "method.seeds={} chooses demonstrations",
        ("method.seeds=tree", "method.demonstrations=0"),
        ("method.demonstrations=1", "method.seeds=demonstrations"),
    ),
    Case(
        "method.seeds=loss rewrites texts",
        ("method.seeds=loss", "method.pairs=true"),
        ("method.pairs=false", "method.seeds=demonstrations"),
    ),
    Case(
        "method.content=pool lets the teacher rewrite",
        ("method.content=pool",),
        ("method.content=free", "prompt=chat"),
    ),
    Case(
        "method={} starts from labelled shots, and shots=0 gives none",
        ("method=pgkd", "shots=0"),
        (
            ("shots=", "training.gold="),
            ("method.n_first=", "method.n_init="),
        ),
        about=("method",),
    ),
    Case(
        "method={} starts from labelled shots, and shots=0 gives none",
        ("method=evokd", "training.gold=none", "method.n_init=4"),
        (("shots=", "training.gold="), ("method.n_first=", "method.n_init=")),
        about=("method=evokd", "shots=0"),
    ),
    Case(
        "method.init=llm_da keeps the entities",
        ("method.init=llm_da", "method.n_init=4"),
        ("method.init=",),
    ),
    Case(
        "method.min_words={} and method.max_words={} allow",
        ("method.min_words=9", "method.max_words=8"),
        ("method.min_words=1", "method.max_words=9"),
    ),
    Case(
        "method.max_tokens={} allows no text",
        ("method.max_tokens=0",),
        ("method.max_tokens=40",),
    ),
    Case(
        "prompt.{}={} leaves nothing of a text",
        ("prompt.shown_tokens=3",),
        ("prompt.shown_tokens=16",),
    ),
    Case(
        "method.invented_names={} must",
        ("method.invented_names=2",),
        ("method.invented_names=1",),
        task="ner",
    ),
    Case(
        "method={} learns from gold labels alone",
        ("method=shots", "shots=0"),
        (("shots=", "training.gold=shots"), ("method=eda", "shots=")),
        about=("method=supervised", "training.gold"),
    ),
    Case(
        "method={} learns from gold labels alone",
        ("method=supervised", "training.gold=none"),
        ("-training.gold", ("method=shots", "shots=", "-training.gold")),
        about=("training.gold", "method=eda"),
    ),
    Case(
        "method=llm_da keeps the entities of sentences",
        ("method=llm_da",),
        (("method=evokd",),),
        about=("task=ner", "method=llm_da"),
    ),
    Case("method=llm_da varies labelled", ("method=llm_da", "shots=0"), ("shots=",), task="ner"),
    Case(
        "method.modes={} must name at least",
        ("method=llm_da", "method.modes=[]"),
        ("method.modes=[noise]",),
        task="ner",
    ),
    Case(
        "method.n_texts={}, so a round would make nothing",
        ("method=llm_da", "method.n_texts=0"),
        ("method.n_texts=1", ("method=shots", "-method.n_texts")),
        task="ner",
    ),
    Case(
        "method.n_texts={}, so no text would be made",
        ("method=eda", "method.n_texts=0"),
        ("method.n_texts=1", ("method=shots", "-method.n_texts")),
    ),
    Case(
        "method.share={} must be in",
        ("method=eda", "method.share=0"),
        ("method.share=0.5",),
    ),
    Case(
        "method.modes=[rename] gives entities other names",
        ("method=eda", "method.modes=[rename]"),
        ("method.modes=[swap]",),
        about=("method.modes=[rename]", "task=ner"),
    ),
    Case(
        "method.noise_words={} must",
        ("method=llm_da", "method.noise_words=0"),
        ("method.noise_words=0.5",),
        task="ner",
    ),
    Case(
        "prompt.strategies is empty",
        ("method=llm_da", "prompt.strategies=null"),
        (
            "+prompt.strategies.plain=plainly",
            ("prompt/templates@prompt=ner", "-prompt.strategies"),
            "method.modes=[replace,noise]",
        ),
        about=("method.init=paraphrase",),
        task="ner",
    ),
    Case(
        "prompt.strategies is empty",
        ("method=evokd", "method.n_init=4", "prompt.strategies=null", *EVOKD),
        ("method.init=",),
        about=("prompt.strategies", "prompt/templates@prompt=ner", "method.modes"),
        task="ner",
    ),
    Case(
        "method={} picks its demonstrations from the shots",
        # Its default loss needs shots too, and would be refused first.
        ("method=llmaaa", "loss=cross_entropy", "training.gold=none"),
        (("shots=", "training.gold="),),
        about=("shots=0", "method"),
    ),
    Case(
        "method.pool_size=0 leaves", ("method=llkd", "method.pool_size=0"), ("method.pool_size=1",)
    ),
    Case(
        "with method.n_texts=0 would label nothing",
        ("method=llkd", "method.rounds=1", "method.n_texts=0"),
        ("method.n_texts=4", "method.rounds=0"),
    ),
    Case(
        "method.first=0 and method.train_on_shots=false",
        ("method=llkd", "method.first=0", "method.train_on_shots=false"),
        ("method.first=4", "method.train_on_shots=true"),
    ),
    Case(
        "method.demonstrations={} must",
        ("method=llmaaa", "method.demonstrations=0"),
        ("method.demonstrations=1", ("method=llkd_on_demand", "-method.demonstrations")),
    ),
    Case(
        "method.a_class={} must",
        ("method=freeal", "method.a_class=0", "method.nearest=-1"),
        (("method.a_class=1", "method.nearest=0"),),
    ),
    Case(
        "method.first={}: FreeAL",
        ("method=freeal", "method.first=4"),
        ("method.first=null", ("method.first=null", "method.pool_size=4")),
    ),
    Case(
        "method.threshold={} must", ("method=freeal", "method.threshold=0"), ("method.threshold=1",)
    ),
    Case(
        "method.pool_size={} leaves the student",
        ("method=pseudo_labels", "method.pool_size=0"),
        ("method.pool_size=1",),
    ),
    Case(
        "method.rounds={} and method.n_texts={} must",
        ("method=pseudo_labels", "method.rounds=0", "method.n_texts=0"),
        (
            ("method.rounds=1", "method.n_texts=1"),
            ("method=shots", "-method.rounds", "-method.n_texts"),
        ),
    ),
    Case(
        "method.min_confidence={} must",
        ("method=pseudo_labels", "method.min_confidence=2"),
        ("method.min_confidence=0",),
    ),
    Case(
        "method={} begins with a student of gold labels or class names",
        ("method=pseudo_labels", "shots=0"),
        (("shots=", "training.gold=shots"), "student.class_names=true"),
        about=("method",),
    ),
    # Budgets that are too small to begin with.
    Case(
        "budget.tokens is smaller than the cost of the first {} texts. Raise",
        ("method.n_init=28", "method.n_first=28", "budget.tokens=600"),
        ("budget.tokens=100000", ("method.n_init=2", "method.n_first=0")),
    ),
    Case(
        "budget.tokens is smaller than the cost of the first {} texts of the pool",
        ("method=llkd", "budget.tokens=2000"),
        ("budget.tokens=100000", "method.first=2", "method.pool_size=2"),
    ),
    Case(
        "budget.tokens is smaller than the cost of the teacher's own demonstrations",
        ("method=freeal", "training.gold=none", "budget.tokens=10"),
        ("budget.tokens=1000000",),
        task="ner",
    ),
    # Selectors.
    Case("accept.share={} must", ("accept=class_share", "accept.share=0"), ("accept.share=1",)),
    Case(
        "accept.min_probability={} must",
        ("accept=class_share", "accept.min_probability=2"),
        ("accept.min_probability=0.5",),
    ),
    Case(
        "acquire.beta={} leaves",
        ("method=llkd_on_demand", "acquire=mixed", "acquire.beta=0"),
        ("acquire.beta=1",),
    ),
    Case(
        "select.teacher_share={} must",
        ("select=llkd", "select.teacher_share=0"),
        ("select.teacher_share=1",),
    ),
    Case(
        "accept.student_confirms=true keeps",
        ("accept=scored", "accept.student_confirms=true"),
        ("accept.min_confidence=0.8",),
        about=("accept.student_confirms", "accept.min_confidence=0"),
    ),
    Case(
        "select.min_confidence={} must",
        ("student.class_names=true", "select=confirmed", "select.min_confidence=2"),
        ("select.min_confidence=0.8",),
    ),
    Case("select.share={} must", ("select=surest", "select.share=0"), ("select.share=1",)),
    Case(
        "select.surest={} must",
        ("select=spread", "select.share=0.6", "select.surest=0.5"),
        ("select.surest=0.6",),
    ),
    Case(
        "select.confidence=agreement compares",
        ("method=full_pool", "select=surest", "select.confidence=agreement"),
        ("labelling=ensemble", "select.confidence=mean"),
        by="train",
        about=("select.confidence=agreement",),
    ),
    Case(
        "labelling.orders={} must",
        ("labelling=ensemble", "labelling.orders=0"),
        ("labelling.orders=2",),
    ),
    Case(
        "labelling.{}={} must be {} or more",
        ("labelling=boosted", "labelling.learners=1"),
        ("labelling.learners=2",),
    ),
    Case(
        "labelling=boosted shows rules and no demonstrations",
        ("method=llmaaa", "labelling=boosted"),
        ("labelling=text",),
        about=("labelling=boosted",),
    ),
    Case(
        "prompt.{}.score does not show the variable",
        ("labelling=boosted", "prompt.way=completion", "prompt.completion.score='{{ text }}:'"),
        (
            "labelling=text",
            "prompt.completion.score='{{ rule | line }} {{ text }}:'",
        ),
        about=("prompt.completion.score", "labelling=boosted"),
    ),
    Case(
        "budget.tokens is spent before the first label",
        ("labelling=boosted", "method=full_pool", "budget.tokens=1"),
        (
            "budget.tokens=200000",
            ("labelling=text", "labelling.demonstrations=nearest", "budget.tokens=20000"),
        ),
        by="train",
    ),
    Case(
        "labelling=boosted learns from labelled examples",
        ("labelling=boosted", "method=full_pool", "shots=0"),
        ("shots=4", "labelling.with_dev=true"),
        about=("labelling=boosted",),
    ),
    Case(
        "labelling.max_demonstrations={} must be 1 or more: the members",
        ("labelling=ensemble", "labelling.max_demonstrations=0"),
        ("labelling.max_demonstrations=1",),
    ),
    Case(
        "labelling=ensemble needs two members",
        ("labelling=ensemble", "labelling.orders=1"),
        (("shots=1", "labelling.orders=2"), ("labelling=text", "-labelling.orders")),
        about=("labelling=ensemble", "labelling.orders=1"),
    ),
    Case(
        "labelling.teachers.{} names a teacher",
        ("labelling=ensemble", "labelling.teachers={2nd: {model: m}}"),
        (
            (
                "-labelling.teachers",
                f"labelling.teachers.second._target_={_SECOND}",
                "labelling.teachers.second.model=m",
            ),
        ),
        about=("labelling.teachers.2nd", "labelling.teachers"),
    ),
    Case(
        "labelling.teachers.{} is the same teacher",
        ("labelling=ensemble", "labelling.teachers.twin.longest=0"),
        (
            "-labelling.teachers.twin.longest",
            f"labelling.teachers.twin._target_={_SECOND}",
        ),
        about=("labelling.teachers.twin", "labelling.teachers"),
    ),
    Case(
        "select.threshold={} must",
        ("select=small_loss", "select.threshold=0"),
        ("select.threshold=1",),
    ),
    Case(
        "select.min_rows={} is", ("select=small_loss", "select.min_rows=1"), ("select.min_rows=2",)
    ),
    Case(
        "acquire.copies={} compares nothing",
        ("method=llkd_on_demand", "acquire=instability", "acquire.copies=0"),
        ("acquire.copies=1",),
    ),
    Case(
        "acquire.share={} is no share",
        ("method=llkd_on_demand", "acquire=instability", "acquire.share=0"),
        ("acquire.share=0.1",),
    ),
    Case(
        "acquire.passes={} cannot",
        (
            "method=llkd_on_demand",
            "acquire=dropout",
            "acquire.passes=1",
            "student.head_dropout=0.1",
        ),
        ("acquire.passes=2",),
    ),
    Case(
        "select={} compares rows with gold ones, and {}; give ",
        ("select=gradient_similarity", "shots=0", "method=llkd", "training.gold=shots"),
        (("shots=", "training.gold=shots", "method.train_on_shots="), "select=every_row"),
    ),
    Case(
        ("select={} compares rows with gold ones, and {}; give ", "training.gold=none keeps"),
        ("select=gradient_similarity", "training.gold=none", "method=zerogen"),
        (("shots=", "training.gold="), "select=every_row"),
    ),
    Case(
        "select={} compares rows with the gold ones that are trained on",
        ("select=gradient_similarity", "method=llkd"),
        ("method.train_on_shots=", "select=every_row"),
    ),
    Case(
        "loss=meta weights rows by their effect",
        ("loss=meta", "training.gold=none", "method=llkd"),
        (("shots=", "training.gold="), "student.class_names=", "loss=cross_entropy"),
    ),
    Case(
        "{}={} {}, and method={} has no such stage",
        ("method=llkd", "accept=scored"),
        ("accept=none", "-accept"),
    ),
    Case(
        "method={} needs a selector that {}",
        ("method=llkd", "acquire=none"),
        ("acquire=random",),
        about=("method",),
    ),
    Case(
        "method={} has 0 rounds, so it labels",
        ("method=llkd", "acquire=entropy"),
        (("method.rounds=", "method.n_texts=", "method.first="), "method="),
    ),
    # Labelling and calibration.
    Case(
        "labelling.candidate_parts={} must",
        ("labelling.candidate_parts=-1",),
        ("labelling.candidate_parts=0",),
        task="ner",
    ),
    Case(
        "labelling.candidate_width={} must",
        ("labelling.candidate_width=0",),
        ("labelling.candidate_width=1",),
        task="ner",
    ),
    Case(
        "labelling.candidates={} gives no",
        ("labelling.candidates=[student]",),
        ("labelling.candidates=[student,capitals]",),
        task="ner",
    ),
    Case(
        "labelling.shown_sentences={} must",
        ("labelling=extract", "labelling.shown_sentences=0"),
        ("labelling.shown_sentences=1",),
        task="ner",
    ),
    Case(
        "labelling.shown_words={} must",
        ("labelling.shown_words=-1",),
        ("labelling.shown_words=0",),
        task="ner",
    ),
    Case(
        "labelling.shown_per_type={} must",
        ("labelling.shown_per_type=0",),
        ("labelling.shown_per_type=1",),
        task="ner",
    ),
    Case(
        "The types '{}' and '{}' have the same word",
        ("labelling=extract", "data.labels={PER:{word:person},LOC:{word:place},ORG:{word:place}}"),
        ("data.labels={PER:{word:person},LOC:{word:place},ORG:{word:firm}}",),
        task="ner",
    ),
    Case(
        "labelling={} labels {}, and task={} does not",
        ("labelling=verify",),
        ("-labelling", "labelling=text"),
        about=("task=classification",),
    ),
    Case(
        "labelling={} labels {}, and task={} does not",
        ("labelling=text",),
        ("-labelling", "labelling=verify"),
        about=("task=ner",),
        task="ner",
    ),
    Case(
        "labelling.shortlist={} must",
        ("labelling.shortlist=1",),
        ("labelling.shortlist=2", "labelling.shortlist=null"),
    ),
    Case(
        "labelling.max_demonstrations={} must be 1 or more, or 0",
        ("labelling.max_demonstrations=-1",),
        ("labelling.max_demonstrations=1", "labelling.max_demonstrations=0"),
    ),
    Case(
        ("The labels '{}' and '{}' cannot be told apart", ", or allow codes"),
        (
            "labelling.allow_codes=false",
            f"data.labels={{music:{{word:play}},weather:{{word:play}},{OTHERS}}}",
        ),
        (
            f"data.labels={{music:{{word:music}},weather:{{word:weather}},{OTHERS}}}",
            "labelling.allow_codes=",
        ),
    ),
    Case(
        "calibration.prior is '{}'. Set",
        ("calibration=batch", "calibration.prior=flat"),
        ("calibration.prior=uniform", "calibration.prior=[0.1,0.1,0.2,0.1,0.2,0.1,0.2]"),
        by="object",
    ),
    Case(
        "calibration.prior={} must be positive",
        ("calibration=batch", "calibration.prior=[1,1,1,1,1,1,1]"),
        ("calibration.prior=[0.1,0.1,0.2,0.1,0.2,0.1,0.2]",),
    ),
    Case(
        "calibration.prior has {} values",
        ("calibration=batch", "calibration.prior=[0.5,0.5]", "method=llkd"),
        ("calibration.prior=[0.1,0.1,0.2,0.1,0.2,0.1,0.2]",),
    ),
    Case(
        "calibration=matched sets the labels' shares",
        ("calibration=matched", "calibration.prior=estimated"),
        (("calibration=batch", "calibration.prior=estimated"),),
        by="object",
    ),
    Case(
        "calibration.asked={} must",
        ("calibration.asked=1",),
        ("calibration.asked=0", "calibration.asked=0.99"),
    ),
    Case(
        "calibration.asked={} cannot be used with calibration.prior=estimated",
        ("calibration=batch", "calibration.prior=estimated", "calibration.asked=0.9"),
        ("-calibration.asked", "-calibration.prior"),
    ),
    Case(
        "calibration.strength={} must",
        ("calibration=tracked", "calibration.strength=0"),
        ("calibration.strength=1",),
    ),
    Case(
        "calibration.growth={} must",
        ("calibration=tracked", "calibration.growth=-1"),
        ("calibration.growth=0",),
    ),
    Case(
        "calibration.bias={} must",
        ("calibration=tracked", "calibration.bias=2"),
        ("calibration.bias=0", "calibration.bias=1"),
    ),
    Case(
        "acquire.share={} must",
        ("method=llkd_on_demand", "acquire=class_balance", "acquire.share=2"),
        ("acquire.share=0", "acquire.share=1"),
    ),
    Case(
        "label of calibration.prior",
        ("calibration=batch", "method=llkd", "calibration.prior={wether:0.5}"),
        ("calibration.prior={weather:0.5}",),
    ),
    Case(
        "calibration.prior={} leaves no share",
        ("calibration=batch", "method=llkd", "calibration.prior={weather:1.5}"),
        ("calibration.prior={weather:0.5}",),
    ),
    Case(
        "calibration.keep={} must",
        ("calibration=matched", "calibration.keep=0"),
        ("calibration.keep=1",),
    ),
    # The student and its losses.
    Case(
        "student.model={} has no config.json",
        ("student.model=.",),
        ("student.model={student}",),
        about=("student.model",),
    ),
    Case("student.model={} does not exist", ("student.model=./none",), ("student.model=embedded",)),
    Case(
        "Unknown student.schedule.shape={}",
        ("student.schedule.shape=round",),
        ("student.schedule.shape=constant", "student.schedule.shape=linear"),
        by="object",
    ),
    Case(
        "student.schedule.warmup={} must",
        ("student.schedule.warmup=1", "student.schedule.floor=2"),
        (("student.schedule.warmup=0", "student.schedule.floor=1"),),
    ),
    Case(
        "student.max_length={} leaves no room", ("student.max_length=2",), ("student.max_length=3",)
    ),
    Case(
        "student.contrastive_start={} must",
        ("student.contrastive_start=-1",),
        ("student.contrastive_start=0",),
    ),
    Case(
        "student.contrastive_start={} tunes the encoder",
        ("student.contrastive_start=5", "student.freeze_encoder=true"),
        ("student.contrastive_start=0", "student.freeze_encoder=false"),
    ),
    Case(
        "student.contrastive_start={} compares the embeddings",
        (
            "student=contrastive_classification",
            *("student.class_names=false", "student.contrastive_start=5"),
        ),
        ("student.contrastive_start=0",),
        task="ner",
        about=("task=ner",),
    ),
    Case(
        "student.encoder=static has no classification head",
        ("student.encoder=static", "student.pooling=first"),
        ("student.pooling=normalized_mean", "student.encoder=transformer"),
    ),
    Case(
        "student.encoder=static gives each word",
        ("student=static_classification", "student.class_names=false", "student.encoder=static"),
        ("student.encoder=transformer",),
        task="ner",
        about=("task=ner",),
    ),
    Case("loss.label_smoothing={} must", ("loss.label_smoothing=1",), ("loss.label_smoothing=0",)),
    Case(
        "loss.strength={} must", ("loss=early_learning", "loss.strength=-1"), ("loss.strength=0",)
    ),
    Case("loss.weight={} must be in", ("loss=contrastive", "loss.weight=1"), ("loss.weight=0",)),
    Case(
        "loss.temperature={} must be above 0, for example 0.3",
        ("loss=contrastive", "loss.temperature=0"),
        ("loss.temperature=0.3",),
    ),
    Case(
        "loss.weight={} must be at least",
        ("loss=group_contrast", "loss.weight=-1"),
        ("loss.weight=0",),
    ),
    Case(
        "loss.temperature={} must be above 0, for example 0.07",
        ("loss=group_contrast", "loss.temperature=0"),
        ("loss.temperature=0.07",),
    ),
    Case(
        "loss.keys_per_class={} must",
        ("loss=group_contrast", "loss.keys_per_class=0"),
        ("loss.keys_per_class=1",),
    ),
    Case(
        "loss.momentum={} must be in [0, 1): the share of its weights",
        ("loss=group_contrast", "loss.momentum=1"),
        ("loss.momentum=0",),
    ),
    Case("loss.rate={} must", ("loss=sungen", "loss.rate=0"), ("loss.rate=0.1",)),
    Case(
        "loss.momentum={} must be in [0, 1): the share of the old",
        ("loss=early_learning", "loss.momentum=1"),
        ("loss.momentum=0",),
    ),
    Case(
        "loss.mixup={} and loss.consistency={} must",
        ("loss=semi_supervised", "loss.mixup=-1", "loss.consistency=-1"),
        (("loss.mixup=0", "loss.consistency=0"),),
    ),
    Case("loss.hidden={} must", ("loss=semi_supervised", "loss.hidden=1"), ("loss.hidden=0",)),
    Case("loss.alpha={} must", ("loss=semi_supervised", "loss.alpha=0"), ("loss.alpha=4",)),
    Case(
        "loss.warmup={} must be in [0, 1]; 0 begins",
        ("loss=semi_supervised", "loss.warmup=2"),
        ("loss.warmup=0",),
    ),
    Case(
        "loss.weight={} must be at least 0; 0 is cross",
        ("loss=masked_words", "loss.weight=-1"),
        ("loss.weight=0",),
    ),
    Case("loss.share={} has to", ("loss=masked_words", "loss.share=1"), ("loss.share=0.15",)),
    Case(
        "A {} teaches the encoder",
        ("loss=contrastive", "student.freeze_encoder=true"),
        ("student.freeze_encoder=false", "loss=cross_entropy"),
    ),
    Case(
        "select.refill=true gathers kept rows alone",
        ("method=full_pool", "select=small_loss", "select.refill=true", "loss=semi_supervised"),
        ("select.refill=false", "loss=cross_entropy"),
    ),
    Case(
        "method.own_shots={} must",
        ("method=freeal", "method.own_shots=-1"),
        ("method.own_shots=0",),
    ),
    Case(
        "select.checkpoints={} must",
        (
            *("method=full_pool", "method.train_on_shots=true", "select=gradient_similarity"),
            *("select.checkpoints=0", "select.directions=-1"),
        ),
        (("select.checkpoints=1", "select.directions=0"),),
    ),
    Case("method.n_confident={} must", ("method.n_confident=-1",), ("method.n_confident=0",)),
    Case("loss.mass={} must", ("loss=candidate_sets", "loss.mass=0"), ("loss.mass=1",)),
    Case(
        "loss.{}={} must be in [0, 1]", ("loss=candidate_sets", "loss.refine=2"), ("loss.refine=1",)
    ),
    Case("loss.q={} must", ("loss=generalised", "loss.q=2"), ("loss.q=1",)),
    Case(
        "loss.alpha={} and loss.beta={} must",
        ("loss=symmetric", "loss.alpha=0", "loss.beta=0"),
        ("loss.alpha=1", "loss.beta=1"),
    ),
    Case("loss.floor={} replaces", ("loss=symmetric", "loss.floor=0"), ("loss.floor=-4",)),
    Case("loss.forget={} must", ("loss=truncated", "loss.forget=1"), ("loss.forget=0",)),
    Case(
        "loss.warmup={} must be in [0, 1]: a share",
        ("loss=truncated", "loss.warmup=2"),
        ("loss.warmup=1",),
    ),
    Case("loss.share={} must", ("loss=soft_mix", "loss.share=2"), ("loss.share=1",)),
    Case(
        "loss.temperature={} must be above 0; 1",
        ("loss=soft_targets", "loss.temperature=0"),
        ("loss.temperature=1",),
    ),
    # Training, callbacks and loggers.
    Case(
        "training.start_epochs and training.round_epochs must",
        ("training.start_epochs=0", "training.round_epochs=0", "training.final_epochs=-1"),
        (("training.start_epochs=1", "training.round_epochs=1", "training.final_epochs=0"),),
    ),
    Case(
        "training.final_student=new learns in the final stage",
        ("training.final_student=new", "training.final_epochs=0"),
        (("training.final_epochs=10",), ("training.final_student=trained",)),
    ),
    Case(
        "training.round_student=new forgets the rows before",
        ("training.round_student=new", "training.train_on=batch"),
        (("training.train_on=all",), ("training.round_student=trained",)),
    ),
    Case(
        "training.gold_repeats={} must",
        ("training.gold_repeats=0", "training.review_every=-1", "training.review_size=-1"),
        (("training.gold_repeats=1", "training.review_every=0", "training.review_size=0"),),
    ),
    Case("callbacks={} writes to a logger", ("callbacks=lr_monitor",), ("logger=csv",)),
    # What shows in training alone.
    Case(
        "budget.tokens={} is smaller than one round: {} tokens were",
        ("method.rounds=1", "method.n_hard=28", "method.n_easy=28", "budget.tokens=1500"),
        ("budget.tokens=1000000", ("method.n_hard=1", "method.n_easy=1", "method.n_pool=0")),
        by="train",
        about=("tutelage plan",),
    ),
    Case(
        ("student.max_length={} cuts {}", "student.max_length={} is enough for most"),
        ("student.max_length=8",),
        ("student.max_length=",),
    ),
    Case(
        "There are no accepted rows to train on",
        ("method=zerogen", "method.n_first=7", "method.min_words=50"),
        (("shots=", "training.gold="),),
        by="train",
        about=("method=zerogen",),
    ),
    Case(
        "The student's {} in round",
        ("method=shots", "student.learning_rate=1e30", "student.head_learning_rate=1e30"),
        (("student.learning_rate=1e-3", "student.head_learning_rate=1e-3"),),
        by="train",
    ),
    Case(
        "The loss of student.contrastive_start became {}",
        ("method=shots", "student.contrastive_start=9", "student.learning_rate=1e30"),
        ("student.learning_rate=1e-3",),
        by="train",
        about=("student.contrastive_start",),
    ),
    Case(
        "The student has no dropout",
        (
            *("method=llkd_on_demand", "method.first=8", "method.rounds=1", "method.n_texts=4"),
            *("acquire=dropout", "student.model={calm}"),
        ),
        ("student.head_dropout=", "acquire=random"),
        by="train",
    ),
    Case(
        "labelling.candidates={} is not a list",
        ("labelling.candidates=capitals",),
        ("labelling.candidates=",),
        by="object",
        task="ner",
    ),
]
