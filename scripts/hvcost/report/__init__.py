"""The page that answers the question: how much network performance does each hypervisor cost?

`inputs` reads what the experiment left in its folder, `numbers` rounds it and remembers the row that each
number comes from, `words` makes sentences of it: `costs` of what systems cost, `limits` of what limits that,
`trust` of how sure it is. `sections` says which metrics stand together, `overview` is the table of all of
them, `page` puts everything into the template. The page is a pure function of the results: it has no time of
its own, needs no network, and is the same wherever it is made. A reader can get from every number to the row
of the data that it was rounded from.
"""
