"""Adapters to the Linux kernel: packet sockets, netlink, multicast memberships, capabilities, the boot clock. They decide nothing."""
