"""Voice: telephone systems ask who should be rung (see contract), by Kamailio's evapi or a SIP redirect server.

contract    what every adapter and the core say to each other
config      writes kamailio.cfg; kamailio: the client of its evapi module
redirect    a SIP 302 redirect server, for switches that follow one
caller, phone, endpoint, sip   a small SIP caller and phone, for demonstrations, tests and benchmarks
"""
