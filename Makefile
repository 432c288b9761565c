# Two commands for a machine without ROS 2: `make demo` and `make test`. With ROS 2 sourced, use colcon (see README.md).
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements/constraints.txt
# Of each release whose interface the tests hold the engine against; 1 MB each, no TensorRT in them.
TENSORRT_BINDINGS := tensorrt-cu12-bindings==10.3.0 tensorrt-cu12-bindings==10.7.0 \
	tensorrt-cu13-bindings==10.13.3.9 tensorrt-cu13-bindings==10.16.1.11 tensorrt-cu13-bindings==11.4.0.106
SOURCES := $(shell find facefusion_ros launch config deploy msg cmake -type f -not -name '*.pyc' -not -name '*.so' -not -path 'facefusion_ros/msg/*') \
	CMakeLists.txt package.xml pyproject.toml setup.py

.PHONY: install demo test test-slow test-rtx test-hardware coverage faces figures check format clean

install: $(VENV)/.installed

$(VENV)/.ros: requirements/ros.txt requirements/constraints.txt
	@$(PYTHON) -c 'import sys, platform as p; sys.exit(0 if sys.version_info >= (3, 10) and p.machine() == "x86_64" else "facefusion_ros: this needs Python 3.10 or later on x86-64; elsewhere install ROS 2 and use colcon (README.md)")'
	@$(PYTHON) -m venv $(VENV) || { echo 'facefusion_ros: no virtual environment could be made: apt install python3-venv' >&2; exit 1; }
	@echo 'Installing ROS 2 from PyPI into $(VENV) (about 250 MB) ...'
	@$(PIP) --requirement requirements/ros.txt
	@touch $@

$(VENV)/.installed: $(VENV)/.ros $(SOURCES)
	@echo 'Building the messages and installing facefusion_ros ...'
	@$(PIP) --no-build-isolation '.[demo]'
	@touch $@

$(VENV)/.test: $(VENV)/.ros requirements/test.txt requirements/witness.txt Makefile
	@$(PIP) --requirement requirements/test.txt
	@$(PIP) --no-deps --requirement requirements/witness.txt
	@for BINDING in $(TENSORRT_BINDINGS); do \
		$(BIN)/python -m pip download --quiet --no-deps --dest $(VENV)/tensorrt $$BINDING || exit 1; done \
		|| echo 'TensorRT bindings could not be had: what is held against them is left out of the tests' >&2
	@command -v Xvfb >/dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends xvfb; } \
		>$(VENV)/apt.log 2>&1 || echo 'No Xvfb (apt install xvfb): the tests of the window are left out' >&2
	@touch $@

# Beside the environment, not in it: ONNX Runtime would find a provider there that no other test is meant to have.
$(VENV)/.rtx: $(VENV)/.ros requirements/rtx.txt
	@echo 'Fetching TensorRT-RTX (about 150 MB) ...'
	@rm -rf $@ $(VENV)/tensorrt-rtx
	@$(PIP) --no-deps --target $(VENV)/tensorrt-rtx --requirement requirements/rtx.txt 2>$(VENV)/rtx.log && touch $@ \
		|| echo 'TensorRT-RTX could not be had, so no network is built with it: see $(VENV)/rtx.log' >&2

demo: $(VENV)/.installed
	@$(BIN)/facefusion-ros demo --out out

test: $(VENV)/.installed $(VENV)/.test check
	@TENSORRT_WHEELS=$(abspath $(VENV)/tensorrt) $(BIN)/pytest -m 'not slow and not hardware'

# What takes long: both builds in full, every node in a process of its own, sensors through many faults.
test-slow: $(VENV)/.installed $(VENV)/.test
	@$(BIN)/pytest -m 'slow and not rtx'

coverage: $(VENV)/.installed $(VENV)/.test
	@TENSORRT_WHEELS=$(abspath $(VENV)/tensorrt) $(BIN)/pytest -m 'not slow and not hardware' --cov --cov-report=term:skip-covered

test-rtx: $(VENV)/.installed $(VENV)/.test $(VENV)/.rtx
	@test ! -f $(VENV)/.rtx || TENSORRT_RTX=$(abspath $(VENV)/tensorrt-rtx) $(BIN)/pytest -m rtx

# In a guest machine with a kernel of its own, its drivers and emulated devices; says so where there can be none.
test-hardware: $(VENV)/.installed $(VENV)/.test
	@$(BIN)/python test/hardware/boot.py

# The faces that the package's networks are trained on, as a picture to look at.
faces: $(VENV)/.test
	@$(BIN)/python -m training.faces.sheet --out out/faces.png

# The pictures of docs/sensors.md, from what the benchmarks measure here and now; takes some five minutes.
figures: $(VENV)/.installed $(VENV)/.test
	@mkdir -p out/figures
	@$(BIN)/facefusion-ros bench alignment --json out/figures/alignment.json
	@$(BIN)/facefusion-ros bench light --world tunnel --json out/figures/light.json
	@$(BIN)/facefusion-ros bench sensors --json out/figures/sensors.json
	@$(BIN)/python docs/figures.py out/figures docs/figures

check: $(VENV)/.test
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/shellcheck deploy/start deploy/install
	@$(BIN)/hadolint deploy/Containerfile.*

format: $(VENV)/.test
	@$(BIN)/ruff check --fix-only .
	@$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build install log out
