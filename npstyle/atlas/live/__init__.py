"""A page in the browser that follows a run while it goes on (needs the extra `live`).

- `feed`      what the run tells the page, and what the page asks of the run
- `pictures`  the pictures as the page shows them, within a share of the processor's time
- `app`       the answers to the browser's requests, and who may ask (Starlette)
- `server`    the server in a thread of its own (Uvicorn), and opening the page
- `page.*`    the page itself: HTML, CSS and JavaScript, from this machine only
"""
