# syntax=docker/dockerfile:1

# The wheel and everything it needs, in a virtual environment of its own. Nothing of this stage runs later.
FROM python:3.13-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
RUN python -m venv --without-pip /opt/tocsin
# First what seldom changes: this layer is reused until a lock does.
COPY requirements.lock requirements-build.lock ./
RUN pip --python /opt/tocsin/bin/python install --require-hashes --only-binary :all: -r requirements.lock \
 && pip install --root-user-action ignore --require-hashes --only-binary :all: -r requirements-build.lock
COPY pyproject.toml README.md LICENSE ./
COPY gateway ./gateway
COPY adapters ./adapters
# Without isolation: that would fetch whatever hatchling is newest, with no hash.
RUN pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
 && pip --python /opt/tocsin/bin/python install --no-deps --no-index /wheels/*.whl \
 && /opt/tocsin/bin/python -m compileall -q /opt/tocsin/lib

FROM python:3.13-slim
LABEL org.opencontainers.image.title="Tocsin" \
      org.opencontainers.image.description="Webhooks in, the right people told, nothing lost." \
      org.opencontainers.image.licenses="Apache-2.0"
# A fixed number, so that a volume made by one image can be written by the next.
RUN groupadd --system --gid 10001 tocsin \
 && useradd --system --uid 10001 --gid tocsin --home-dir /data --no-create-home --shell /usr/sbin/nologin tocsin \
 && install -d -o tocsin -g tocsin -m 0700 /data
COPY --from=build /opt/tocsin /opt/tocsin
COPY routing.yaml /etc/tocsin/routing.yaml
ENV PATH=/opt/tocsin/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    TOCSIN_CONFIG=/etc/tocsin/routing.yaml \
    TOCSIN_DATABASE=sqlite:////data/tocsin.db \
    TOCSIN_HOST=0.0.0.0 \
    TOCSIN_PORT=8080
USER tocsin
WORKDIR /data
VOLUME /data
EXPOSE 8080
STOPSIGNAL SIGTERM
# By http.client, which asks no proxy: a variable meant for the channels must not send this out of the container.
HEALTHCHECK --interval=15s --timeout=5s --start-period=10s --retries=3 \
    CMD ["python", "-c", "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', int(os.environ['TOCSIN_PORT']), timeout=4); c.request('GET', '/healthz'); sys.exit(c.getresponse().status != 200)"]
ENTRYPOINT ["tocsin"]
CMD ["serve"]
