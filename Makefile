# Two commands are all a newcomer needs: `make demo` and `make test`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test check setup setup-test clean

demo: setup  ## sample customers, a server, real SIP calls, visits to a shop; stays until Ctrl-C
	@sh tools/debian-packages.sh voice
	@$(BIN)/firstring demo $(DEMO)

test: setup-test check  ## everything that CI runs
	$(BIN)/pytest --numprocesses 2 --dist loadfile $(PYTEST)

check: setup-test  ## style, types, direction of imports
	$(BIN)/ruff check src tests bench
	$(BIN)/ruff format --check src tests bench
	$(BIN)/mypy
	$(BIN)/lint-imports

setup: $(VENV)/.installed  ## the program in a virtual environment

setup-test: $(VENV)/.installed-test
	@sh tools/debian-packages.sh voice browser node

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	@touch $@

clean:  ## removes what the targets above made here
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build src/*.egg-info
