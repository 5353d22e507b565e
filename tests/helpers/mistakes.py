"""What a user can get wrong on the command line, and words that the one line of the refusal must have."""

from __future__ import annotations

import shlex

import pytest

SEARCH = "search --results-dir {out} --name new --space nb201 --plugin {in}/good.py --evaluator flat --trials 2"
"""A search that would work."""
TABLE = "search --results-dir {out} --name new --space nb201 --trials 2 --baseline none"
SPACE = "search --results-dir {out} --name new --plugin {in}/good.py --evaluator flat --trials 2"

FLAGS = [
    ("command", "serach --trials 3", "unknown command 'serach'; did you mean 'search'?"),
    ("flag", f"{SEARCH} --trails 3", "unknown flag '--trails'; did you mean '--trials'?"),
    ("flag without command", "--trails 3", "unknown flag '--trails'; did you mean '--trials'?"),
    ("short flag", f"{SEARCH} -t 3", "-t"),
    ("flag of another command", "list spaces --trials 3", "unknown flag '--trials'"),
    ("flag of another tool", "train resnet18 --wd 0.1", "unknown flag '--wd': 'weight_decay' is a field of a recipe"),
    (
        "field of no recipe",
        "train resnet18 --set wieght_decay=0",
        "--set: recipe: unknown field 'wieght_decay'; did you",
    ),
    ("field without a value", "train resnet18 --set momentum", "--set must be NAME=VALUE, found 'momentum'"),
    ("rate that is none", "search --lr fast", "--lr must be a number, found 'fast'"),
    ("rate given twice", "search --lr 0.1 --set learning_rate=0.2", "--lr and --set learning_rate are one setting"),
    ("batch given twice", "compare lenet5 lenet5 --batch-size 4 --set batch_size=8", "both set the batch; name one"),
    ("epochs as a field", "train lenet5 --set epochs=3", "--set epochs: the epochs of a training have a flag of"),
    ("results folder is a file", "train resnet18 --results-dir {out}/file", "Not a directory"),
    ("flag cut short", f"{SEARCH} --trial 3", "did you mean '--trials'?"),
    ("extra word", f"{SEARCH} nasnet", "nasnet"),
    ("flag without value", f"{SEARCH} --trials", "--trials"),
    ("value is a flag", f"{SEARCH} --trials --seed", "--trials"),
    ("space", f"{SEARCH} --space nb202", "unknown space 'nb202'; did you mean 'nb201'?"),
    ("space of a table without one", f"{SEARCH} --space table", "--table"),
    ("searcher", f"{SEARCH} --searcher evolutoin", "unknown searcher 'evolutoin'; did you mean 'evolution'?"),
    ("evaluator", f"{SEARCH} --evaluator trian", "unknown evaluator 'trian'; did you mean 'train'?"),
    ("executor", f"{SEARCH} --executor inlin", "unknown executor 'inlin'; did you mean 'inline'?"),
    ("baseline", f"{SEARCH} --baseline grid", "--baseline must be random or none, found 'grid'"),
    ("space argument", f"{SEARCH} --space-arg nods=3", "argument 'nods'"),
    ("nasnet argument", f"{SEARCH} --space nasnet --space-arg nods=3", "did you mean 'nodes'?"),
    ("searcher argument", f"{SEARCH} --searcher evolution --searcher-arg populatoin=3", "did you mean 'population'?"),
    ("argument without =", f"{SEARCH} --space-arg nodes", "--space-arg must be NAME=VALUE, found 'nodes'"),
    ("argument without name", f"{SEARCH} --searcher-arg =3", "--searcher-arg must be NAME=VALUE, found '=3'"),
    ("trials 0", f"{SEARCH} --trials 0", "--trials must be at least 1, found 0"),
    ("trials -1", f"{SEARCH} --trials -1", "--trials must be at least 1, found -1"),
    ("trials abc", f"{SEARCH} --trials abc", "--trials must be an integer"),
    ("trials 1.5", f"{SEARCH} --trials 1.5", "--trials must be an integer"),
    ("trials empty", f"{SEARCH} --trials ''", "--trials must be an integer"),
    ("trials infM", f"{SEARCH} --trials infM", "--trials must be an integer"),
    ("trials nank", f"{SEARCH} --trials nank", "--trials must be an integer"),
    ("trials 1e999M", f"{SEARCH} --trials 1e999M", "--trials must be an integer"),
    ("epochs 0", f"{SEARCH} --epochs 0", "--epochs must be at least 1, found 0"),
    ("width 0", f"{SEARCH} --width 0", "--width must be at least 1, found 0"),
    ("depth 0", f"{SEARCH} --depth 0", "--depth must be at least 1, found 0"),
    ("lag -1", f"{SEARCH} --lag -1", "--lag must be at least 0, found -1"),
    ("seed -1", f"{SEARCH} --seed -1", "--seed must be at least 0, found -1"),
    ("threads 0", f"{SEARCH} --threads 0", "--threads must be at least 1"),
    ("max params 0", f"{SEARCH} --max-params 0", "--max-params must be at least 1"),
    ("nodes 0", f"{SEARCH} --space nasnet --space-arg nodes=0", "nodes must be an integer from 1 to 12"),
    ("nodes 99", f"{SEARCH} --space nasnet --space-arg nodes=99", "nodes must be an integer from 1 to 12"),
    ("nodes abc", f"{SEARCH} --space nasnet --space-arg nodes=abc", "nodes must be an integer from 1 to 12"),
    ("nodes nan", f"{SEARCH} --space nasnet --space-arg nodes=nan", "nodes must be text, a finite number"),
    ("population 0", f"{SEARCH} --searcher evolution --searcher-arg population=0", "population must be an integer"),
    ("population inf", f"{SEARCH} --searcher-arg population=inf", "population must be text, a finite number"),
    ("list", "list space", "unknown list 'space'; did you mean 'spaces'?"),
    ("list nothing", "list", "nas list needs one of: spaces, searchers"),
    ("list plugin", "list spaces --plugin {in}/none.py", "none.py"),
]
CONFIGS = [
    ("missing", f"{SEARCH} --config {{in}}/none.toml", "file '{in}/none.toml' does not exist"),
    ("unknown setting", f"{SEARCH} --config {{in}}/unknown.toml", "did you mean 'trials'?"),
    ("text for a number", "{search} --config {in}/text_trials.toml", "--trials must be an integer, found 'many'"),
    ("true for a number", "{search} --config {in}/true_trials.toml", "--trials must be an integer, found True"),
    ("half a trial", "{search} --config {in}/half_trials.toml", "--trials must be an integer, found 1.5"),
    ("list for a text", "{search} --config {in}/list_space.toml", "--space must be text"),
    ("number for arguments", "{search} --config {in}/number_args.toml", "--space-arg must be a table"),
    (
        "number for arguments and a flag",
        "{search} --config {in}/number_args.toml --space-arg nodes=3",
        "--space-arg must be a table",
    ),
    ("date", "{search} --config {in}/date_args.toml", "nodes"),
    ("not a number", "{search} --config {in}/nan_args.toml", "nodes"),
    (
        "plugins of numbers",
        "search --results-dir {out} --config {in}/number_plugins.toml",
        "--plugin must be a list of files",
    ),
    (
        "plugins of one text",
        "search --results-dir {out} --config {in}/text_plugins.toml",
        "--plugin must be a list of files",
    ),
    ("broken", f"{SEARCH} --config {{in}}/broken.toml", "broken.toml' is not TOML"),
    ("nested", f"{SEARCH} --config {{in}}/deep.toml", "deep.toml' is not usable TOML"),
    ("binary", f"{SEARCH} --config {{in}}/binary.toml", "binary.toml' is not text"),
    ("folder", f"{SEARCH} --config {{in}}/folder", "folder' cannot be read: Is a directory"),
]
TABLES = [
    ("missing", f"{TABLE} --table {{in}}/none.npz --reward accuracy", "none.npz': the file does not exist"),
    ("folder", f"{TABLE} --table {{in}}/folder --reward accuracy", "folder"),
    ("no reward", f"{TABLE} --table {{in}}/good.npz", "--val-column COLUMN"),
    ("reward alone", f"{SEARCH} --reward accuracy", "--val-column goes with the evaluator 'table'"),
    ("objective alone", f"{SEARCH} --objective accuracy", "--test-column goes with the evaluator 'table'"),
    ("table evaluator alone", f"{TABLE} --evaluator table", "--table FILE"),
    ("column", f"{TABLE} --table {{in}}/good.npz --reward accurracy", "did you mean 'accuracy'?"),
    ("objective", f"{TABLE} --table {{in}}/good.npz --reward accuracy --objective acc", "column 'acc'"),
    (
        "dataset",
        f"{TABLE} --table {{in}}/good.npz --reward accuracy --dataset larg",
        "unknown dataset 'larg'; did you mean 'large'?",
    ),
    (
        "dataset of a column that has none",
        f"{TABLE} --table {{in}}/good.npz --reward seconds --dataset larg",
        "unknown dataset 'larg'; did you mean 'large'?",
    ),
    (
        "dataset of a table that has none",
        f"{TABLE} --table {{in}}/no_dataset.npz --reward accuracy --dataset larg",
        "unknown dataset 'larg'",
    ),
    (
        "another space's",
        f"{TABLE} --table {{in}}/other.npz --reward accuracy",
        "does not fit space 'nb201': the space has no decision 'op_0'",
    ),
    (
        "other options",
        f"{TABLE} --table {{in}}/other_options.npz --reward accuracy",
        "the table has no option 'none' of decision 'edge_0_1'",
    ),
]
DAMAGED_TABLES = {
    "truncated": "not a readable .npz",
    "damaged": "not a readable .npz",
    "text": "not a readable .npz",
    "empty": "not a readable .npz",
    "single": "not a readable .npz",
    "zip": "'names' is missing",
    "no_choices": "'choices' is missing",
    "one_name": "'names' must be a row",
    "no_names": "'names' must be a row",
    "wide": "'choices' must be rows of 6 uint8",
    "signed": "'choices' must be rows of 6 uint8",
    "high": "must be below 5",
    "twin": "rows 1 and 2 of 'choices' are equal",
    "not_json": "'options' must be JSON",
    "options_list": "'options' must be an object",
    "options_number": "'options' must be an object",
    "options_twice": "options must be distinct",
    "options_object": "an option is a string",
    "pickled": "is of Python objects; numbers and text are allowed",
    "short": "'accuracy' must be 25 rows of numbers",
    "words": "'accuracy' must be 25 rows of numbers",
    "scalar": "'accuracy' must be 25 rows of numbers",
    "one_dataset": "one value a dataset of ['small']",
    "no_columns": "no column",
    "dataset_word": "'datasets' must be a row",
}
DATA = {
    "cifar10": ("", "a folder and none is given"),
    "cifar1O": ("", "unknown dataset 'cifar1O'; did you mean 'cifar10'?"),
    "cifar10 none": ("none", "does not exist"),
    "cifar10 file": ("good.py", "is no tar archive"),
    "cifar10 empty": ("folder", "data_batch_1.bin' is missing"),
    "cifar10 truncated": ("cifar_truncated", "30,730,000 bytes are needed"),
    "cifar10 odd": ("cifar_odd", "data_batch_1.bin' is truncated or damaged"),
    "fashion-mnist empty": ("folder", "train-images-idx3-ubyte' is missing"),
    "fashion-mnist magic": ("idx_magic", "magic number must be 0x00000803"),
    "fashion-mnist labels for images": ("idx_labels", "magic number must be 0x00000803"),
    "fashion-mnist sizes": ("idx_sizes", "60,000 x 28 x 28"),
    "fashion-mnist header": ("idx_header", "is truncated"),
    "fashion-mnist short": ("idx_short", "is truncated or damaged"),
    "fashion-mnist truncated gzip": ("idx_gzip", "train-images-idx3-ubyte.gz"),
    "fashion-mnist no gzip": ("idx_no_gzip", "train-images-idx3-ubyte.gz' is truncated or damaged"),
}
INSPECT = [
    ("missing", "inspect {in}/none.json", "file '{in}/none.json' does not exist"),
    ("folder", "inspect {in}/folder", "Is a directory"),
    ("not JSON", "inspect {in}/not_json.json", "not_json.json' is not JSON: line 1"),
    ("nested", "inspect {in}/deep.json", "nested too deeply"),
    ("list", "inspect {in}/list.json", "format must be"),
    ("format", "inspect {in}/format.json", "found 'other/1'"),
    ("binary", "inspect {in}/good.npz", "is not text"),
    ("two channels", "inspect {in}/arch_good.json --input 3,32", "--input must be C,H,W"),
    ("words", "inspect {in}/arch_good.json --input a,b,c", "--input must be C,H,W"),
    ("no channels", "inspect {in}/arch_good.json --input 0,1,1", "--input must be C,H,W"),
    ("superscript", "inspect {in}/arch_good.json --input 3,3²,3", "--input must be C,H,W"),
    ("classes", "inspect {in}/arch_good.json --classes 0", "--classes must be at least 1"),
    ("no classes", "inspect {in}/arch_good.json --classes ten", "--classes"),
    ("width", "inspect {in}/arch_good.json --width 0", "--width must be at least 1"),
    ("depth", "inspect {in}/arch_good.json --depth -1", "--depth must be at least 1"),
]
GRAPHS = {
    "missing_node": "node 'relu': input 'conf' is not an earlier node",
    "forward": "node 'conv': input 'relu' is not an earlier node",
    "itself": "node 'relu': input 'relu' is not an earlier node",
    "doubled": "node 'conv': the name is taken",
    "primitive": "unknown primitive 'convolution'",
    "attribute": "unknown attribute 'kernal'; did you mean 'kernel'?",
    "no_attribute": "attribute 'out' is missing",
    "type": "out must be an integer of at least 1, found 'four'",
    "float": "out must be an integer of at least 1, found 4.0",
    "object": "node 'conv'",
    "attrs_list": "'attrs' must be an object",
    "arity": "node 'pool': global_avg_pool takes exactly 1",
    "no_inputs": "node 'relu': relu takes exactly 1",
    "output": "output 'logits': unknown node 'classifier'",
    "no_output": "at least one output",
    "no_nodes": "unknown node 'fc'",
    "nodes_object": "'nodes' must be a list",
    "node_number": "node 0: a node is an object",
    "reserved": "'forward' is a name that torch or Python uses",
    "odd_name": "node 'a b'",
    "groups": "node 'conv': conv: groups must divide",
    "small": "the window of 99 does not fit an input of 8",
    "vector": "must be a vector",
    "newer": "nas/graph/9",
}
ARCHITECTURES = {
    "space": "unknown space 'nb202'; did you mean 'nb201'?",
    "no_space": "'space' must be a string",
    "argument": "unknown argument 'nodes'",
    "decision": "unknown decision 'edge_3_3'",
    "value": "did you mean 'skip_connect'?",
    "missing": "decision 'edge_2_3' is missing",
    "object_value": "edge_0_1",
    "decisions_list": "'decisions' must be objects",
}
NAMES = [
    ("slash", "a/b", "run name 'a/b'"),
    ("parent", "../x", "run name '../x'"),
    ("hidden", ".x", "run name '.x'"),
    ("empty", "", "run name ''"),
    ("dot", ".", "run name '.'"),
    ("space", "a b", "run name 'a b'"),
    ("absolute", "/tmp/x", "run name '/tmp/x'"),
    ("long", "x" * 101, "at most 100"),
    ("existing", "first-run", "run 'first-run' exists already"),
    ("existing file", "file", "run 'file' exists already"),
]
RUNS = [
    ("unknown", "first-rum", "unknown run 'first-rum'; did you mean 'first-run'?"),
    ("damaged", "damaged", "line 1 is damaged"),
    ("empty", "empty", "holds no complete event"),
    ("foreign", "foreign", "line 1 is damaged"),
    ("file", "file", "unknown run 'file'"),
    ("parent", "../results/first-run", "run name '../results/first-run'"),
]
PLUGINS = {
    "none.py": "must be an existing Python file",
    "plugin.txt": "must be an existing Python file",
    "folder": "must be an existing Python file",
    "syntax.py": "SyntaxError",
    "raises.py": "RuntimeError: planted in the plugin",
    "exits.py": "SystemExit",
    "imports.py": "a_module_that_is_not_there",
    "taken.py": "evaluator 'train' is registered already",
    "spaced.py": "'fl at'",
    "binary.py": "binary.py",
}
CHECKS = {
    "nothing": "registers no search space",
    "random_space": "no randomness",
    "counting_space": "no randomness and no memory",
    "changing_options": "a name always has the same options",
    "raising_space": "ValueError: planted in the space",
    "wrong_shape": "one logit a class, (10,), found (7,)",
    "twice": "chosen twice",
    "no_options": "non-empty",
    "odd_options": "an option is a string",
    "infeasible": "no feasible architecture",
    "unbuildable": "does not fit an input of 32",
    "syntax": "SyntaxError",
    "none": "must be an existing Python file",
}
SEARCHED = {
    "unbuildable": "does not fit an input of 32",
    "raising_space": "ValueError: planted in the space",
    "twice": "chosen twice",
    "infeasible": "no feasible architecture",
}


def cases():
    """Yield every case as (command, words)."""
    for group, rows in (("flag", FLAGS), ("config", CONFIGS), ("table", TABLES), ("inspect", INSPECT)):
        for name, command, words in rows:
            yield pytest.param(command, words, id=f"{group}: {name}")
    for name, words in DAMAGED_TABLES.items():
        yield pytest.param(
            f"{TABLE} --space table --table {{in}}/{name}.npz --reward accuracy", words, id=f"damaged table: {name}"
        )
    for name, (folder, words) in DATA.items():
        place = f" --data-dir {{in}}/{folder}" if folder else ""
        command = f"search --results-dir {{out}} --name new --dataset {name.split()[0]}{place}"
        yield pytest.param(command, words, id=f"data: {name}")
    for kind, files in (("graph", GRAPHS), ("arch", ARCHITECTURES)):
        for name, words in files.items():
            yield pytest.param(f"inspect {{in}}/{kind}_{name}.json", words, id=f"{kind}: {name}")
    for name, run, words in NAMES:
        yield pytest.param(f"{SEARCH} --name {shlex.quote(run)}", words, id=f"name: {name}")
    for name, run, words in RUNS:
        for command in ("resume", "report"):
            yield pytest.param(f"{command} {run} --results-dir {{out}}", words, id=f"{command}: {name}")
    for name, words in PLUGINS.items():
        yield pytest.param(f"{SEARCH} --plugin {{in}}/{name}", words, id=f"plugin: {name}")
    for name, words in CHECKS.items():
        yield pytest.param(f"check {{in}}/{name}.py", words, id=f"check: {name}")
    for name, words in SEARCHED.items():
        command = f"{SPACE} --plugin {{in}}/{name}.py --space {name}"
        yield pytest.param(command, words, id=f"search in: {name}")
    searcher = f"{SEARCH} --plugin {{in}}/bad_searcher.py --searcher odd"
    yield pytest.param(searcher, "searcher 'odd': KeyError: 'planted in the searcher'", id="searcher raises")
    nsga2 = "search --results-dir {out} --space nb201 --depth 1 --searcher nsga2 --searcher-arg"
    yield pytest.param(f"{nsga2} objectives=mcas", "unknown objective 'mcas'; did you mean 'macs'?", id="objective")
    table = f"{TABLE} --table {{in}}/good.npz --reward accuracy --searcher nsga2 --searcher-arg"
    yield pytest.param(f"{table} objectives=latency", "record columns of a table with --metric", id="table objective")
    score = "unknown zero-cost score 'synflo'; did you mean 'synflow'?"
    yield pytest.param(f"{SEARCH} --zero-cost synflo", f"--zero-cost: {score}", id="score")
    rank = "searcher 'rank:synflo': unknown score 'synflo'; did you mean 'synflow'?"
    yield pytest.param(f"{SEARCH} --searcher rank:synflo", rank, id="ranked by")
    yield pytest.param(f"{nsga2} limits=latency<=5", "unknown objective 'latency'", id="limit")
    yield pytest.param(f"{SEARCH} --results-dir {{out}}/file", "Not a directory", id="results folder is a file")
