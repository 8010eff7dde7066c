"""fetcher -> client."""

from .shared import RequestFailed

FetcherToClient = RequestFailed
