"""Facts about the machine, read and never changed: processes, memory, cores, GPUs, disks, provider, login session."""
