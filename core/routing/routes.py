"""The six routes: what kind of query it is, and where such a query is answered."""

from __future__ import annotations

ROUTES = (
    "gnn_similarity",  # titles like a named one
    "vector_search",  # titles described by what they are: plot, people, genre, time
    "mood_matching",  # titles for how somebody feels or wants to feel
    "catalog_freshness",  # what is new, coming or leaving
    "availability_check",  # where, or whether, titles can be watched
    "personalized_hybrid",  # whatever suits the viewer
)
OUT_OF_DOMAIN = "out_of_domain"  # no query for titles at all
CLASSES = (*ROUTES, OUT_OF_DOMAIN)

RECOMMENDATIONS = "/api/v1/recommendations"
# Out of domain has no handler: what to say then is the caller's choice.
HANDLERS = dict.fromkeys(ROUTES, RECOMMENDATIONS) | {"gnn_similarity": f"{RECOMMENDATIONS}/similar", OUT_OF_DOMAIN: ""}
