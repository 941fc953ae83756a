"""Uploads a file with tuspy: python tuspy_upload.py '{"file", "endpoint", "key", …options}'

With `urls`, a file to remember addresses in. Tells {"resumed"}, and {"url", "offset"} after each
piece, a line each.
"""

from __future__ import annotations

import json
import sys

from tusclient.client import TusClient
from tusclient.storage.filestorage import FileStorage


def main() -> None:
    told = json.loads(sys.argv[1])
    urls = told.pop("urls", None)
    client = TusClient(told.pop("endpoint"), headers={"Authorization": f"Bearer {told.pop('key')}"})
    uploader = client.uploader(
        told.pop("file"),
        metadata={"filename": "words.txt", "filetype": "text/plain"},
        store_url=urls is not None,
        url_storage=FileStorage(urls) if urls else None,
        **told,
    )
    if uploader.url:
        print(json.dumps({"resumed": uploader.url}), flush=True)
    while uploader.offset < uploader.get_file_size():
        uploader.upload_chunk()
        print(json.dumps({"url": uploader.url, "offset": uploader.offset}), flush=True)
    job_id = uploader.request.response_headers.get("upload-job-id") if uploader.request else None
    print(json.dumps({"url": uploader.url, "jobId": job_id}), flush=True)


if __name__ == "__main__":
    main()
