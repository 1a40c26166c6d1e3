# make demo    train MNIST with MXNet, logged by boardd, into logs/demo
# make board   open TensorBoard on it
# make test    lint, types and tests
# make test-frameworks    the tests of PyTorch, JAX, TensorFlow and the libraries on top of them
# make docs    the site of docs/, with the API, into build/docs
# make test-pythons       the rooms without processes on every Python that is installed, 3.10 to 3.14
# make fuzz    an hour of hostile bytes and clients (FUZZ_SECS=3600)
# make torture            kills, full disks and failing calls by the thousand, in some hours
#
# Every target sets up what it needs in .venv; nothing is installed elsewhere.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
LOGDIR ?= logs/demo
SITE ?= build/docs
FUZZ_SECS ?= 3600
# Of pytest, for tests that take as long as they are told to: the most, in seconds.
DAY := --timeout=86400 -o faulthandler_timeout=90000
FUZZ_MOST = --timeout=$$(($(FUZZ_SECS) + 1800)) -o faulthandler_timeout=$$(($(FUZZ_SECS) + 3600))

.DEFAULT_GOAL := help
.PHONY: help setup demo board check kernels test test-frameworks test-pythons docs fuzz torture screenshots benchmark protos lock clean

help:
	@sed -n 's/^# \{0,1\}//p' Makefile | sed '/^$$/q'

$(READY): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { \
	  echo "make: $(PYTHON) with the venv module is needed (Debian: apt-get install python3.11-venv)" >&2; exit 1; }
	@$(PYTHON) -c 'import ctypes; ctypes.CDLL("libgomp.so.1")' 2>/dev/null || { \
	  echo "make: MXNet needs libgomp.so.1 (Debian: apt-get install libgomp1)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c requirements.lock -e '.[mxnet,test,docs]'
	@touch $@

setup: $(READY)

demo: setup
	$(BIN)/python examples/demo.py --logdir $(LOGDIR)

board: setup
	$(BIN)/tensorboard --logdir $(LOGDIR)

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# What the daemons of all tests load: a fresh clone has none, and each daemon would compile them.
kernels: setup
	@BOARDD_AUTOSTART=0 $(BIN)/python deploy/compile_kernels.py

# Three sessions, which wait more than they compute and take about as long as each other, run beside
# each other. The first is shown as it runs, the others after it.
OTHERS := faults conformance torture fuzz e2e/test_environments.py
test: setup
	@$(MAKE) --no-print-directory --jobs=2 --output-sync check $(if $(strip $(PYTEST_ARGS)),,kernels)
ifeq ($(strip $(PYTEST_ARGS)),)
	@logs=$$(mktemp -d); \
	nice -n 5 $(BIN)/python -m pytest tests/unit >$$logs/unit 2>&1 & unit=$$!; \
	$(BIN)/python -m pytest $(addprefix tests/,$(OTHERS)) >$$logs/others 2>&1 & others=$$!; \
	trap 'kill $$unit $$others' INT; status=0; \
	$(BIN)/python -m pytest $(addprefix --ignore=tests/,unit $(OTHERS)) || status=$$?; \
	wait $$others || status=$$?; wait $$unit || status=$$?; \
	cat $$logs/others $$logs/unit; rm -r $$logs; exit $$status
else
	$(BIN)/python -m pytest $(PYTEST_ARGS)
endif

# The tests of PyTorch, JAX, TensorFlow and the libraries on top of them, with the newest NumPy, in an
# environment of their own.
test-frameworks: $(VENV)-frameworks/.ready
	$(VENV)-frameworks/bin/python -m pytest \
	  tests/unit/client/capture/test_host.py tests/unit/client/capture/test_jax.py \
	  tests/unit/client/capture/test_torch*.py tests/unit/client/capture/test_tensorflow.py \
	  tests/unit/client/capture/test_joined.py \
	  tests/unit/client/calls tests/unit/client/dropins tests/unit/client/hooks tests/unit/daemon/reduce/histogram/test_histogram.py \
	  tests/unit/daemon/reduce/histogram/test_quartiles.py tests/unit/daemon/reduce/test_health.py \
	  tests/e2e/test_document_snippets.py tests/e2e/test_hooks_torch.py tests/e2e/test_hooks_jax.py tests/e2e/test_tensorflow_training.py \
	  tests/e2e/test_torch_ddp.py tests/e2e/test_hooks_lightning.py tests/e2e/test_hooks_transformers.py \
	  tests/e2e/test_hooks_ignite.py tests/e2e/test_hooks_keras.py tests/e2e/test_hooks_ray.py \
	  tests/conformance $(PYTEST_ARGS)

docs: setup
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going docs $(SITE)

# What must be the same on every Python, with the newest of all packages and without MXNet: the rooms
# that start no process, and a client and a daemon. Of each minor version the Python of pyenv, else
# the first on PATH. PYTHONS="/usr/bin/python3.14 ..." names others.
MINORS := 10 11 12 13 14
PYTHONS ?= $(foreach minor,$(MINORS),$(firstword $(wildcard \
  $(HOME)/.pyenv/versions/3.$(minor).*/bin/python3 $(addsuffix /python3.$(minor),$(subst :, ,$(PATH))))))
PORTABLE := unit/protos unit/client/calls unit/client/memory unit/client/session \
  unit/client/capture/test_host.py unit/daemon/core unit/daemon/events unit/daemon/partials \
  unit/daemon/reduce unit/daemon/summaries unit/daemon/settings e2e/test_client_daemon.py
test-pythons:
	@[ -n "$(strip $(PYTHONS))" ] || { \
	  echo "make: no Python 3.10 to 3.14 is installed, or PYTHONS is empty" >&2; exit 1; }
	@status=0; tested=" "; \
	for python in $(PYTHONS); do \
	  version=$$($$python -c 'import sys; print("%d.%d" % sys.version_info[:2])') \
	    || { status=1; continue; }; \
	  venv=$(VENV)-$$version; tested="$$tested$$version "; \
	  echo "make: $$python, in $$venv"; \
	  [ $$venv/.ready -nt pyproject.toml ] || { $$python -m venv $$venv \
	    && $$venv/bin/pip install --quiet --disable-pip-version-check -e '.[test]' && touch $$venv/.ready; } \
	    || { status=1; continue; }; \
	  $$venv/bin/python -m pytest -m "not slow" $(addprefix tests/,$(PORTABLE)) $(PYTEST_ARGS) || status=1; \
	done; \
	for minor in $(MINORS); do case "$$tested" in *" 3.$$minor "*) ;; \
	  *) echo "make: Python 3.$$minor is not tested: it is not installed, or not in PYTHONS" >&2;; \
	esac; done; exit $$status

# The long form of the tests that kill and fail, and then the soak of an hour. Each prints its seed.
torture: setup
	TORTURE=long $(BIN)/python -m pytest -s $(DAY) tests/torture $(PYTEST_ARGS)
	TORTURE=long WRITE_SWEEP=40 MERGED_SWEEP=20 $(BIN)/python -m pytest $(DAY) \
	  tests/faults/test_daemon_dies_writing.py tests/faults/test_merged_faults.py \
	  tests/faults/test_swapped_paths.py \
	  tests/faults/test_held_up_runs.py::test_more_writers_than_runs_may_be_open_one_after_the_other
	$(BIN)/python benchmarks/soak.py

$(VENV)-frameworks/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)-frameworks
	$(VENV)-frameworks/bin/pip install --quiet --disable-pip-version-check -e '.[test,frameworks]'
	@touch $@

# Three quarters of the time for readers of bytes, the rest for clients of a daemon, each of which
# takes about a second. What was found stays in .fuzz, and the next run begins there.
fuzz: setup
	status=0; \
	PYTHONPATH=tests $(BIN)/python -m fuzz --secs $$(($(FUZZ_SECS) * 3 / 4)) --found .fuzz || status=$$?; \
	FUZZ_CLIENTS=$$(($(FUZZ_SECS) / 4 + 1)) $(BIN)/python -m pytest -s $(FUZZ_MOST) tests/fuzz/test_hostile_clients.py || status=$$?; \
	exit $$status

# Regenerates the code of the .proto files with the oldest protoc we support.
protos: $(VENV)-protoc/.ready
	protos/generate.sh $(VENV)-protoc/bin/python

$(VENV)-protoc/.ready: protos/requirements.txt
	$(PYTHON) -m venv $(VENV)-protoc
	$(VENV)-protoc/bin/pip install --quiet --disable-pip-version-check -r $<
	@touch $@

# Regenerates the pictures of README and docs/ from real TensorBoard.
screenshots: demo
	PYTHONPATH=tests $(BIN)/python -m support.screenshot $(LOGDIR) docs/images/demo.png
	for name in filters embedding; do \
	  $(BIN)/python examples/$$name.py --logdir logs/$$name && \
	  PYTHONPATH=tests $(BIN)/python -m support.example_pictures $$name logs/$$name docs/images/$$name.png || exit; \
	done
	rm -rf logs/workers logs/slow
	BOARDD_PER_RANK=all $(BIN)/python examples/mxnet_dist_sync.py --steps 150 --logdir logs/workers/dist_sync
	$(BIN)/python examples/straggler.py --logdir logs/slow/straggler
	for picture in band:workers merged_histogram:workers straggler:slow; do \
	  name=$${picture%:*}; PYTHONPATH=tests $(BIN)/python -m support.example_pictures \
	    $$name logs/$${picture#*:} docs/images/$$name.png || exit; \
	done

# Renews the tables of benchmarks/README.md, in more than an hour; each peer gets an environment
# of its own.
benchmark: setup
	for name in peers training_steps throughput stopped_daemon freshness; do \
	  $(BIN)/python benchmarks/$$name.py || exit; \
	done

# Pins what setup installs to what is installed now.
lock: setup
	$(BIN)/pip freeze --exclude-editable | grep -v ' @ ' > requirements.lock

clean:
	rm -rf $(VENV) $(VENV)-* build
