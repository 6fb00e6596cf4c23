"""How any machine is reached and asked: one command runner, whatever lies between, and what is asked of it.

    connection.run(["ip", "-json", "link"]).stdout

Arguments are lists; where a shell lies between, they are quoted once, in the connection that needs it.
"""
