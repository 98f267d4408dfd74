# make demo    the main job in small: street scenes -> records -> two trainings -> table, picture, two exports
# make test    the tests
# Both set up .venv themselves, from setup.cfg under constraints.txt, once.

PYTHON ?= python3
VENV   := .venv
RUN    := $(VENV)/bin/python

.PHONY: demo test test-extras soak check format bench docs clean

demo: $(VENV)/.installed
	$(RUN) -m kseg demo --output_dir=build/demo

# A process a core (four at most), each test file in one of them: a file's tests share what they train.
test: $(VENV)/.installed
	$(RUN) -m pytest --numprocesses=logical --maxprocesses=4 --dist=loadfile

# Tests of optional dependencies: every extra but the CUDA libraries, in an environment of its own.
test-extras: .venv-extras/.installed
	.venv-extras/bin/python -m pytest -m extras

soak: $(VENV)/.installed
	$(RUN) -m pytest -m soak

check: $(VENV)/.installed
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

format: $(VENV)/.installed
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

# The site of docs/ in site/. The variable keeps a notice about the theme's successor out of the output.
docs: $(VENV)/.installed-docs
	NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build --strict --quiet
	@echo "open site/index.html"

bench: $(VENV)/.installed
	$(RUN) tools/benchmark.py all

clean:
	rm -rf build site

$(VENV)/.installed: setup.cfg pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if (3, 11) <= v < (3, 14) else "error: kseg needs Python 3.11, 3.12 or 3.13, and $(PYTHON) is %d.%d; call make PYTHON=python3.11" % v[:2])'
	@echo "setting up $(VENV), once: 3 GB, and some minutes without a word"
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	@touch $@

.venv-extras/.installed: setup.cfg pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info[:2] == (3, 11) else "error: the extras are pinned together on Python 3.11; call make test-extras PYTHON=python3.11")'
	$(PYTHON) -m venv .venv-extras
	.venv-extras/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,beam,serving,addons,parity,pretrained,notebooks,docs]'
	@touch $@
