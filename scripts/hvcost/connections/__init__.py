"""How a machine is reached: one command runner, whatever lies between.

    connection.run(["ip", "-json", "link"]).stdout

Arguments are lists; where a shell lies between, they are quoted once, in the connection that needs it.
"""
