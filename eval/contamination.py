"""Whether models have seen the transcripts: the same as 'centaurlab contamination'.

Started with 'accelerate launch' on several processes; --help shows options and examples.
"""

from centaurlab.cli.commands import find_command

if __name__ == "__main__":
    find_command("contamination").main()
