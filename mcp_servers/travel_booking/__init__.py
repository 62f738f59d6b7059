"""The travel_booking server: flights, hotels and itineraries of a family, paid from its wallets."""

from __future__ import annotations

from palaestra.mcp_servers.framework.crud import crud
from palaestra.mcp_servers.framework.server import ToolServer
from palaestra.mcp_servers.travel_booking.models import MODELS, FlightBooking, HotelBooking, Traveller, Trip, Wallet
from palaestra.mcp_servers.travel_booking.seed import seed
from palaestra.mcp_servers.travel_booking.stories import CHAINS, STORIES
from palaestra.mcp_servers.travel_booking.tools import QUERIES, VERBS

SERVER = ToolServer(
    "travel_booking",
    "A travel agency for one household: flights with cabins and fares, hotel rooms by the night, trips that gather the "
    "bookings. Amounts are in minor units (cents), times are UTC. A seat is held for 30 minutes and then paid from a "
    "wallet; the fare decides about changes and refunds; check-in opens 24 hours before departure.",
    models=MODELS,
    seed=seed,
    stories=STORIES,
    chains=CHAINS,
    tools=[
        *crud(Trip, "list create"),
        *crud(Traveller, "list"),
        *crud(Wallet, "list", entity="travel_wallet"),
        *crud(FlightBooking, "list"),
        *crud(HotelBooking, "list"),
        *QUERIES,
        *VERBS,
    ],
)
