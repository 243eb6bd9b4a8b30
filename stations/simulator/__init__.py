"""Simulated charging stations that speak OCPP 1.6, 2.0.1 and 2.1 over a real websocket to any CSMS.

The package shares no code with the server side of the protocol, so that each side checks the other.
It needs the standard library, ``websockets`` and ``orjson``; Django is never imported here.

- ``car``, ``physics``, ``limits``: batteries, outlets with their meters, charging profiles (pure)
- ``wire``: one websocket and the calls on it
- ``station``: what every station does, whatever it speaks; ``ocpp16*``, ``ocpp2*`` put it into frames
- ``misbehaviour``: what goes wrong on purpose
- ``traffic``, ``fleet``, ``cli``: drivers who come and go, many stations, the command line
- ``load``: a lean client for benchmarks
"""
