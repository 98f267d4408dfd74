"""A study configuration in, many training runs, and one summary that compares them out.

Start with runner.carry_out. grid says which runs there are, worker carries one out, contrasts compares.
"""
