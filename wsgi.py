"""The WSGI application, for any server: `granian --interface wsgi wsgi:app`, say."""

from govern import create_app

app = create_app()
