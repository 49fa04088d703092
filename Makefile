# The five commands of the project.
.PHONY: install test lint docs tables

install:
	pip install -e ".[dev]"

test:
	pytest

lint:
	ruff check .
	ruff format --check .
	mypy

docs:
	sphinx-build -W --keep-going -q docs docs/_build

tables:
	python -m benchmarks.tables --write
