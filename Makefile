# Two commands set up everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Python compiles the modules that it imports; compiling all of torch's and transformers' would take a minute.
PIP := $(BIN)/pip install -q --no-compile --disable-pip-version-check -c constraints.txt

# What is compiled once is kept: a test run starts hundreds of processes, and each would compile torch and numpy again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo demo-cpp test test-ray wheels wheels-test collected test-aarch64 fuzz-cpp lint format bench bench-cpp install cpp cpp-tests \
	browser docs clean

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
	$(BIN)/python scripts/check_links.py

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The C++ runtime, and the packages that it is built with. The first line says what is missing where nothing may be installed.
cpp:
	runtime/cpp/scripts/install_tools.sh
	PYTHON=$(PYTHON) runtime/cpp/scripts/fetch_onnxruntime.sh
	cd runtime/cpp && cmake --preset release -DATTN_TESTS=OFF && cmake --build --preset release
	mkdir -p runtime/attn_runtime/lib
	cp -L build/cpp/release/libattn_runtime.so runtime/attn_runtime/lib/

# What the tests of tests/cpp run. Where the tools are missing and may not be installed, those tests skip and say so.
cpp-tests:
	@if runtime/cpp/scripts/install_tools.sh && PYTHON=$(PYTHON) runtime/cpp/scripts/fetch_onnxruntime.sh; then \
		PYTHON=$(PYTHON) runtime/cpp/scripts/fetch_onnxruntime.sh --version 1.20.1 || echo "an older ONNX Runtime is not tested"; \
		cd runtime/cpp && cmake --preset tests >/dev/null && cmake --build --preset tests; \
	else echo "the tests of the C++ runtime will be skipped"; fi

# What tests of pages are shown by: 20 s, 103 MB. Where it is missing and may not be installed, those tests skip and say so.
browser:
	@runtime/cpp/scripts/install_tools.sh browser || echo "the tests of pages in a browser will be skipped"

# Bytecode of all tests and of what they import: the processes of a run would each compile it, all at once.
collected: install
	-$(BIN)/python -m pytest -q --collect-only >/dev/null

# Packages install on one core while the other compiles. Then three processes (tests/conftest.py says who gets what) on two cores: many
# tests wait for a child process. One thread of torch's for each.
test:
	$(MAKE) -j2 lint collected cpp-tests browser
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 3

# Ray is 250 MB and its clusters take a while to come and go: no part of make test, where these tests skip.
test-ray: install
	$(PIP) -e './runtime[ray]'
	$(BIN)/python -m pytest tests/runtime/tasks/mapping/test_ray_run.py

bench: install
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python scripts/bench/bench.py

bench-cpp: install cpp
	$(BIN)/python scripts/bench/bench_cpp.py

# Translates a sentence from C++, with the bundle of `make demo`.
demo-cpp: install cpp
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python scripts/demo_cpp.py

# Both packages as wheels, with the C++ library for x86-64 and 64-bit Arm, into dist/: docs/use/install.md.
wheels: install
	runtime/cpp/scripts/install_tools.sh
	PYTHON=$(PYTHON) runtime/cpp/scripts/fetch_onnxruntime.sh
	$(PIP) -e '.[dev,wheels]'
	$(BIN)/python scripts/wheels/build.py

# The wheels in a root that has nothing but Debian's Python, and on 64-bit Arm under qemu.
wheels-test: wheels
	scripts/wheels/try_in_bare_root.sh

# A minute of libFuzzer on the C++ readers of manifests, tensor files, recordings and patterns.
fuzz-cpp:
	runtime/cpp/scripts/install_tools.sh fuzz
	runtime/cpp/scripts/fuzz.sh 60

# The C++ runtime and the Python one on aarch64, under qemu: docs/use/jetson.md.
test-aarch64: install
	runtime/cpp/scripts/test_aarch64.sh

# The pages and a reference from the docstrings, to be opened without a network; a warning is an error.
docs: install
	$(PIP) -e '.[docs]'
	$(BIN)/python -m sphinx -q -W --keep-going -a -b html -d build/docs-cache -c docs/site . build/docs
	@echo build/docs/index.html

clean:
	rm -rf $(VENV) runs build dist *.egg-info runtime/*.egg-info
