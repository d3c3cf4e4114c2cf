# Everything runs in .venv, which is made on first use. PYTHON chooses the interpreter (3.10 or newer).
PYTHON ?= python3
VENV ?= .venv
LOWEST ?= .venv-lowest
RUN := $(VENV)/bin/python
# Two processes, each with one thread, run the tests fastest on a small machine. PARALLEL= runs one.
PARALLEL ?= -n 2 --dist loadfile
PYTEST := -m pytest $(PARALLEL)
test test-lowest: export OMP_NUM_THREADS ?= 1

.PHONY: install wheel demo test test-lowest torture lint docs notebooks format clean help

help:
	@echo "make demo   set up, train cfamc and emp_ssl on handwritten digits, compare them under attack"
	@echo "make test   set up, run the tests (TESTS='-m slow' for the long ones)"
	@echo "make test-lowest PYTHON=python3.10   the tests, with the oldest libraries that setup.py allows"
	@echo "make torture   kill, damage and confuse it for hours (TORTURE='--kills 6' for minutes)"
	@echo "make lint   ruff, mypy and make docs"
	@echo "make wheel  build the wheel and try it in an environment of its own"
	@echo "make notebooks   examples/*.ipynb from examples/*.py"
	@echo "make docs   the documentation site in site/; a broken link or a missing docstring fails"

# editable_mode=compat keeps namespace packages visible to Hydra's plugin scan.
$(VENV)/.installed: setup.py pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "solo-adv needs Python 3.10 or newer; use make PYTHON=/path/to/python3.x")'
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet uv
	$(RUN) -m uv pip install --python $(RUN) --config-settings editable_mode=compat -e '.[dev]'
	@touch $@

install: $(VENV)/.installed

demo: $(VENV)/.installed
	$(RUN) -m solo_adv.commands.demo

test: $(VENV)/.installed
	$(RUN) $(PYTEST) $(TESTS)

$(LOWEST)/.installed: setup.py pyproject.toml
	$(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/python -m pip install --quiet uv
	$(LOWEST)/bin/python -m uv pip install --python $(LOWEST)/bin/python --resolution lowest-direct \
		--config-settings editable_mode=compat -e '.[dev]'
	@touch $@

test-lowest: $(LOWEST)/.installed
	$(LOWEST)/bin/python $(PYTEST) $(TESTS)

torture: $(VENV)/.installed
	$(RUN) -m torture $(TORTURE)

lint: $(VENV)/.installed docs
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

# The pages are plain files, but browsers let the search run only on pages of a server.
docs: $(VENV)/.installed
	NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build --strict --quiet
	@echo "site/index.html is made; to search in it: $(RUN) -m http.server --directory site"

wheel: $(VENV)/.installed
	rm -rf build dist .venv-wheel
	$(RUN) -m build --quiet
	$(PYTHON) -m venv .venv-wheel
	$(RUN) -m uv pip install --quiet --python .venv-wheel/bin/python dist/*.whl
	cd dist && ../.venv-wheel/bin/python -c "import solo_adv; \
		print(solo_adv.__version__, solo_adv.load_pretrained('cfamc_resnet10w16_digits_m3').num_features)"
	cd dist && ../.venv-wheel/bin/solo-adv-pretrain --help > /dev/null

notebooks: $(VENV)/.installed
	$(RUN) -m jupytext --quiet --update --to ipynb --set-kernel python3 examples/*.py

format: $(VENV)/.installed
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

clean:
	rm -rf $(VENV) $(LOWEST) .venv-wheel build dist site *.egg-info
