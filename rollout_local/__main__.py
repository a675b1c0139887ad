"""`python -m rollout_local` is the command `rollout`."""

from rollout_local.cli.main import main

if __name__ == "__main__":
    main()
