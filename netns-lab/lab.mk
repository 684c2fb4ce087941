# The lab; see netns-lab/README.md.
.PHONY: chaos lab lab-up lab-shell lab-down

# CLUSTER=kubernetes: on a Kubernetes control plane of the release KUBERNETES, which is built first; without it, on files
CLUSTER ?= embedded
NETLAB = PYTHONPATH=netns-lab PYTHONDONTWRITEBYTECODE=1 $(PYTHON) -m netlab --cluster $(CLUSTER)

lab: setup tools ## The main job before your eyes: elections, failovers, figures; half a minute (CLUSTER=kubernetes: on an API server, KUBERNETES=1.36)
	@$(NETLAB) run

lab-up: setup tools ## Leave the lab's network up, with its agents
	@$(NETLAB) up

lab-shell: setup tools ## A shell inside the lab, which stays up; tells what to try
	@$(NETLAB) shell

lab-down: setup ## Remove the lab that stays up, and all that a killed lab left
	@$(NETLAB) down

chaos: setup tools ## Random faults on live agents, judged by what a client saw: five minutes (SEED=n, MINUTES=m, ROUND=r, CLUSTER=kubernetes)
	@PYTHONPATH=netns-lab PYTHONDONTWRITEBYTECODE=1 $(PYTHON) -m netlab.chaos --cluster $(CLUSTER) $(if $(SEED),--seed $(SEED)) $(if $(MINUTES),--minutes $(MINUTES)) $(if $(ROUND),--round $(ROUND))
