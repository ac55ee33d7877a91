"""Child processes: the parent leases, settles and renews; children only execute."""
