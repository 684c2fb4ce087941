"""LB-IPAM, pure: pools and Services in, addresses, conditions and refusals out. Independent of control/ and responder/."""
