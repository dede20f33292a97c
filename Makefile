# Two commands set up everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Python compiles the modules that it imports; compiling all of torch's and transformers' would take a minute.
PIP := $(BIN)/pip install -q --no-compile --disable-pip-version-check -c constraints.txt

.PHONY: demo test lint format bench install clean

install: $(VENV)/.installed

# torch first and pinned: asked for by range, an index may answer with a CUDA build of several GB.
$(VENV)/.installed: pyproject.toml runtime/pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) torch==$$(sed -n 's/^torch==//p' constraints.txt)
	$(PIP) -e './runtime[cpu,image,plot,text]' -e '.[dev]'
	touch $@

demo: install
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python scripts/demo.py

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Two processes (tests/conftest.py says who gets what): many tests wait for a child process. One thread of torch's for each.
test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

bench: install
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python scripts/bench.py

clean:
	rm -rf $(VENV) demo runs bench build *.egg-info runtime/*.egg-info
