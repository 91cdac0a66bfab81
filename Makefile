# `make demo` and `make test` are all a newcomer needs; `make check` is for daily work (no engine, no network).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
DEMO := demo/qwen3-tiny

.PHONY: demo test check format docs engine browser changelog clean

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

engine: $(STAMP)
	$(BIN)/seatrial engine install cpu

browser:
	@scripts/ensure_browser.sh

demo: $(STAMP) engine
	test -f $(DEMO)/config.json || $(BIN)/seatrial tiny qwen3 $(DEMO)
	$(BIN)/seatrial run $(DEMO) --target cpu

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python scripts/docs.py --check
	$(BIN)/python -m pytest -q -n 4 --dist worksteal -m 'not engine and not browser and not hardware'

# An engine starts one process after the other, and each keeps one core busy with its imports: two starts side by side
# take little longer than one. What waits for another thread of an engine gives up its core meanwhile (OMP_WAIT_POLICY).
# A file's tests share their engines and checkpoints and stay together. ENGINES=1: one after another.
ENGINES ?= 2
test: $(STAMP) engine browser
	$(BIN)/python scripts/docs.py --check
	$(BIN)/python -m pytest -n 4 --dist worksteal -m 'not engine and not browser and not alone'
	OMP_WAIT_POLICY=passive $(BIN)/python -m pytest -n $(ENGINES) --dist loadfile -m '(engine or browser) and not alone' \
		--durations 25
	$(BIN)/python -m pytest -m alone

docs: $(STAMP)
	$(BIN)/python scripts/docs.py

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

changelog: $(STAMP)
	$(BIN)/python scripts/changelog.py

clean:
	rm -rf $(VENV) demo .mypy_cache .ruff_cache .pytest_cache .hypothesis
