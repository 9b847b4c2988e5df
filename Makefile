# Checkstack for Kubernetes. `make` lists what there is to do.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

CLUSTER := tests/cluster/cluster

.PHONY: help run stop kubeconfig test test-fast e2e soak bench lint generate setup plugins images binaries clean

help: ## This list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: ## A cluster (or yours, by KUBECONFIG) with the operator, an instance and two plugins that are Ready
	@tests/steps setup binaries plugins images cluster install samples
	@manifests/samples/what-next

stop: ## Undo `make run`: the local cluster and all that runs in it (your own cluster: the release and the samples)
	@manifests/samples/stop

kubeconfig: ## The path of the local cluster's kubeconfig: export KUBECONFIG=$$(make kubeconfig)
	@$(CLUSTER) kubeconfig

test: ## Everything that proves the project
	@tests/steps setup binaries generated lint plugins unit guests charts images harness cluster install samples e2e

test-fast: ## All but the tests that need a kubelet
	@tests/steps setup binaries generated lint plugins unit guests charts

e2e: ## End-to-end tests alone, on a real node (or on your cluster, by KUBECONFIG)
	@tests/steps setup binaries plugins images cluster e2e

soak: ## 200 changes of a plugin under load, with pods and operators killed meanwhile
	@tests/steps setup binaries plugins images cluster soak

bench: ## The figures of docs/benchmarks.md, each beside its baseline
	@tests/steps setup binaries plugins images cluster bench

lint: ## Formatting and lints, warnings are errors
	@tests/steps lint

generate: ## Write what is generated: CRDs, RBAC, references, manifests
	@tests/steps binaries generate

setup: ## Install what building and testing need on a Debian-like machine
	@tests/steps setup

plugins: ## Pack the first-party plugins and those of the tests
	@tests/steps binaries plugins

images: ## Container images as archives in images/dist, without a registry
	@tests/steps binaries images

binaries: ## Operator, core server and command line tool in target/debug
	@tests/steps binaries

clean: ## Remove what was built here (not the cached Kubernetes binaries)
	rm -rf target plugins/target plugins/dist tests/plugins/dist images/dist
