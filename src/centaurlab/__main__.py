"""``python -m centaurlab``, and what ``accelerate launch -m centaurlab`` starts."""

from centaurlab.cli.main import main

if __name__ == "__main__":
    main()
