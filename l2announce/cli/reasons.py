"""Every word that tells why a node does not announce a Service, with its meaning and what to do: for ``explain``, and for the table in
docs/operations.md, which a test holds equal to this one."""

from typing import NamedTuple


class Meaning(NamedTuple):
    """In Markdown: ``means`` is a clause, ``remedy`` an imperative or "none"."""

    means: str
    remedy: str


REASONS = {
    "HeldBy": Meaning(
        "another node holds the lease and answers",
        "none; ask that node",
    ),
    "Announces": Meaning(
        "holds the lease, and answers",
        "none",
    ),
    "Unknown": Meaning(
        "nobody holds the lease, and the objects mean this node to take it; what keeps it from doing so, it alone knows",
        "run the command on that node: is an agent there?",
    ),
    "Conflict": Meaning(
        "a stranger has every address of the Service that this node would announce, so they are held back",
        "take the address off that host; `l2announce who ADDRESS` has its MAC",
    ),
    "Electing": Meaning(
        "nobody holds the lease as far as this node has seen; it is about to be taken",
        "wait for a lease duration; if it stays, look for `lease not written` in the log: is the store writable?",
    ),
    "ApiUnreachable": Meaning(
        "this agent does not reach the API server, or the directory of the leases, so it neither sees nor takes what becomes free",
        "the table PROBLEM WITH of `l2announce status` has the error; mend the network, the server or the agent's rights; no restart is "
        "needed",
    ),
    "Class": Meaning(
        "`spec.loadBalancerClass` belongs to another implementation",
        "remove it, or set `io.cilium/l2-announcer`, if l2announce should announce the Service",
    ),
    "Headless": Meaning(
        "the Service is headless: it has no address of its own",
        "give it a cluster IP",
    ),
    "NoPorts": Meaning(
        "the Service has no port",
        "add one",
    ),
    "IPModeProxy": Meaning(
        "its load balancer IPs have `ipMode: Proxy`, so their traffic goes to the load balancer; and there is no external IP",
        "none, if a load balancer has them; else have `ipMode` VIP, or none, written in `status.loadBalancer`",
    ),
    "NoAddress": Meaning(
        "no external IP; and no load balancer IP in the status, or the type is not LoadBalancer",
        "write `externalIPs`, or have an address assigned in `status.loadBalancer`",
    ),
    "TypeAnnotation": Meaning(
        "the annotation `service.cilium.io/type` leaves out the load balancer IPs",
        "remove it, or set it to `LoadBalancer`",
    ),
    "NodeUnknown": Meaning(
        "there is no Node object with this agent's `--node-name`",
        "add the Node, or correct the name",
    ),
    "NoPolicy": Meaning(
        "no valid CiliumL2AnnouncementPolicy selects the Service",
        "correct a `serviceSelector`; a policy with an invalid selector counts as none and is listed as a problem",
    ),
    "AddressKind": Meaning(
        "policies select the Service, but set neither `externalIPs` nor `loadBalancerIPs` for a kind of address that it has",
        "set the one that you mean to true",
    ),
    "NodeSelector": Meaning(
        "policies select the Service, none of them this node",
        "label the Node, or widen `nodeSelector`",
    ),
    "NotForThisNode": Meaning(
        "the annotation `service.cilium.io/node` or `service.cilium.io/node-selector` leaves this node out",
        "change the annotation, or label the Node",
    ),
    "NoInterface": Meaning(
        "no usable interface of this node is chosen by the policies",
        "compare `spec.interfaces` and `--devices` with `ip link`; a port of a bridge or bond is not used, its master is; an "
        "interface that is down is not detected",
    ),
    "NoLocalEndpoint": Meaning(
        "`externalTrafficPolicy` is Local and no endpoint that takes traffic runs on this node; or, of Services that share "
        "the lease, another node can serve more",
        "none, if another node has one; else mend the endpoints, use Cluster, or `--on-no-endpoints keep`",
    ),
    "NodeUnhealthy": Meaning(
        "for longer than `--node-grace` the Node is not ready or its network is unavailable; or it has the taint "
        "`node.kubernetes.io/out-of-service`, or is being deleted. Another candidate is better off",
        "`kubectl describe node`; mend the node",
    ),
    "Cordoned": Meaning(
        "the Node is unschedulable and the agent runs with `--on-cordon withdraw`. Another candidate is better off",
        "`kubectl uncordon`",
    ),
    "Excluded": Meaning(
        "the Node has the label `node.kubernetes.io/exclude-from-external-load-balancers` and the agent runs with "
        "`--on-exclude-label withdraw`. Another candidate is better off",
        "remove the label",
    ),
    "NoSubnet": Meaning(
        "with `--subnet-match require`: an address lies in no connected subnet of the interfaces with carrier that would announce it",
        "compare the address with `ip route`; correct the address, the policy's interfaces or the flag",
    ),
    "Guarded": Meaning(
        "every address of the Service that policies choose is one that is never announced: of a node, a gateway, the API server, a subnet",
        "the table PROBLEM WITH says which; give the Service another address; [topology.md](topology.md) has the list",
    ),
    "Stopping": Meaning(
        "this agent was told to end",
        "none",
    ),
    "NotReady": Meaning(
        "this agent has not yet seen the objects, the leases and the interfaces",
        "wait; if it stays, read the log from its start",
    ),
    "ResponderNotAnswering": Meaning(
        "the responder does not report or does not obey, so this node would not answer",
        "look at the responder process: is it stopped, or starved of CPU? Restart the agent",
    ),
    "NoCarrier": Meaning(
        "no interface that the policies choose has carrier",
        "the cable, the switch port, `ip link`",
    ),
    "MemberHeldElsewhere": Meaning(
        "this Service shares an address with another, whose former lease a different node still holds",
        "wait for a lease duration at most",
    ),
    "Moving": Meaning(
        "somebody asked for the address to be handed over (`l2announce move`), and this node is letting go",
        "wait: it takes milliseconds",
    ),
    "Drained": Meaning(
        "this node is drained",
        "`l2announce drain NODE --undo` when the maintenance is over",
    ),
}
