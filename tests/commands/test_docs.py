"""The pages: links and anchors lead somewhere, commands parse, messages are the code's, the site has them all."""

import ast
import json
import pathlib
import re
import unicodedata

import in_process
import pytest
import yaml

import kseg
from kseg import commands
from kseg.commands import flags

ROOT = next(folder for folder in pathlib.Path(__file__).parents if (folder / "setup.cfg").is_file())
BESIDE = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "deploy/README.md", "tfrecords/FORMAT.md")
PAGES = [*sorted(ROOT.glob("docs/**/*.md")), *(ROOT / name for name in BESIDE)]
TOOLS = sorted(ROOT.glob("tools/*.py"))
NOTEBOOKS = sorted(ROOT.glob("docs/notebooks/*.ipynb"))
# Flags of other programs that the pages name.
OTHERS = {"allow_version_labels_for_unavailable_models", "no", "port", "rest_api_port", "model_name", "model_base_path"}
OTHERS |= {"user", "tmpfs", "runner", "help", "shared", "logdir"}

_FENCE = re.compile(r"^( *)(```|~~~)(\w*)[^\n]*\n(.*?)^\1\2", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"(?:(?<=\n\n)|\A)(?:    [^\n]*\n|\n(?=    ))+", re.MULTILINE)
_COMMAND = re.compile(r"(?:(?:^|&& |\$ |-m |bin/)kseg|tools/(\w+)\.py)((?: +[^\n`]*)?)")


def name_of(path):
    return str(path.relative_to(ROOT))


def without_code(text):
    """Prose alone: what is in code is no link."""
    return re.sub(r"`[^`\n]+`", "", _INDENTED.sub("", _FENCE.sub("", text)))


def blocks(text):
    """Code blocks but Python's, fenced and indented; a line that ends in a backslash goes on."""
    found = [match[4] for match in _FENCE.finditer(text) if match[3] != "python"] + _INDENTED.findall(
        _FENCE.sub("", text)
    )
    return [re.sub(r"\\\n\s*", " ", block) for block in found]


def prose_of(path):
    if path.suffix == ".ipynb":
        cells = json.loads(path.read_text())["cells"]
        return "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    return path.read_text()


def anchors(path):
    """Anchors that a page's headings have on GitHub and in MkDocs, where both have the same."""
    found = set()
    for heading in re.findall(r"^#+ +(.*?) *#*$", _FENCE.sub("", path.read_text()), re.MULTILINE):
        text = re.sub(r"<!--.*?-->|[`*]|\]\([^)]*\)|\[", "", heading)
        github = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
        ascii_text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
        mkdocs = re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", ascii_text).strip().lower())
        found |= {github} & {mkdocs}
    return found


@pytest.mark.parametrize("page", [*PAGES, *NOTEBOOKS], ids=name_of)
def test_links_lead_to_files_and_headings(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(prose_of(page))):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        other = (page.parent / path).resolve() if path else page
        assert other.exists(), f"{target}: no such file"
        assert other.is_relative_to(ROOT)
        if anchor:
            assert anchor in anchors(other), f"{target}: no such heading"


def test_every_page_is_on_the_site_and_the_site_names_no_other():
    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text())

    def leaves(entry):
        if isinstance(entry, str):
            return [entry]
        return [leaf for part in (entry if isinstance(entry, list) else entry.values()) for leaf in leaves(part)]

    listed = leaves(site["nav"]) + site["not_in_nav"].split()
    hooks = ast.parse((ROOT / "docs/site_hooks.py").read_text())
    beside = ast.literal_eval(next(node.value for node in hooks.body if isinstance(node, ast.Assign)))
    own = {str(page.relative_to(ROOT / "docs")) for page in PAGES if page.is_relative_to(ROOT / "docs")}
    assert sorted(listed) == sorted(own | set(beside))
    assert set(beside.values()) == set(BESIDE)


@pytest.fixture(scope="module")
def known():
    """Flags by command, and by what lies in tools/ and is no command."""
    found = {path.stem: set(re.findall(r'DEFINE_\w+\(\s*"(\w+)"|"--(\w+)"', path.read_text())) for path in TOOLS}
    found = {name: set("".join(pair) for pair in pairs) for name, pairs in found.items()}
    return found | {name: in_process.flags_of(name) for name in commands.NAMES}


def named_commands(text):
    """(command with underscores, its arguments) of every command line in code, blocks and inline."""
    inline = re.findall(r"`([^`\n]+)`", _FENCE.sub("", text))
    for line in [line for block in blocks(text) for line in block.splitlines()] + inline:
        line = re.sub(r"\s#\s.*", "", line)
        for match in _COMMAND.finditer(line):
            words = match[2].split()
            name = match[1] or (words.pop(0) if words and re.fullmatch(r"[a-z][a-z-]*", words[0]) else "")
            if name and not name.isupper() and not name.endswith("_NAME"):
                yield name.replace("-", "_"), words


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_in_code_are_ones_that_parse(page, known):
    keys = set(kseg.config.flatten(kseg.config.default()))
    for name, words in named_commands(page.read_text()):
        assert name in known, f"kseg {name}: no such command"
        for word in words:
            if word in ("&&", "|", ">", "--") or not (flag := re.match(r"\[?--?([a-z][\w.]*)", word)):
                continue
            asked = flag[1]
            if asked.startswith("config."):
                key = asked.removeprefix("config.").removeprefix("base.").rstrip(".")
                assert key in keys or key.split(".")[0] == "objects", f"kseg {name}: no key {asked}"
            elif asked == "config":
                value = re.match(r"[^:\]]*", word.partition("=")[2])[0]
                if value and not re.search(r"_mine|_X|PATH|^[A-Z]$|\.\.\.", value):
                    flags.find_config(str(ROOT / value) if "/" in value else value)
            else:
                assert asked in known[name] | {"help"} or asked.removeprefix("no") in known[name], f"{name} --{asked}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_flags_in_prose_are_flags_of_some_command(page, known):
    every = set().union(*known.values()) | OTHERS
    for code in re.findall(r"`([^`\n]+)`", _FENCE.sub("", page.read_text())):
        for flag in re.findall(r"(?:^|[ \[(])--(\w+)", code):
            assert flag in every or flag == "config", f"`{code}`: no command has --{flag}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_python_in_the_pages_is_python(page):
    for _, _, kind, block in _FENCE.findall(page.read_text()):
        if kind == "python":
            ast.parse(block)


def strings_of_the_code():
    """Every text of kseg and tfrecords, \\0 where something is filled in."""
    found = [(ROOT / "Makefile").read_text()]
    for path in [*ROOT.glob("kseg/**/*.py"), *ROOT.glob("tfrecords/**/*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(re.sub(r"%[sdg]", "\0", node.value))
            elif isinstance(node, ast.JoinedStr):
                parts = [part.value if isinstance(part, ast.Constant) else "\0" for part in node.values]
                found.append("".join(parts))
    return "\n".join(found)


def test_the_messages_of_troubleshooting_are_those_of_the_code():
    code = strings_of_the_code()
    messages = re.findall(r"^\| `([^`]+)` \|", (ROOT / "docs/troubleshooting.md").read_text(), re.MULTILINE)
    assert len(messages) > 20
    for message in messages:
        # Single capitals, and what is quoted, stand for something of the user's.
        for piece in re.split(r'"[^"]*"|\b(?:[A-Z]\b(?:/[\w.]+)?|REASON|DEVICE|Ctrl-C|SIGTERM)', message):
            piece = piece.strip(" (),;")
            assert len(piece) < 4 or piece in code, f"{message}: nothing says {piece!r}"


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=name_of)
def test_notebooks_are_kept_without_outputs(notebook):
    for cell in json.loads(notebook.read_text())["cells"]:
        assert cell["cell_type"] != "code" or (cell["outputs"] == [] and cell["execution_count"] is None)
