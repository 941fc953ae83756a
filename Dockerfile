# docker build -t upload-appliance .   then   docker compose up   (compose.yaml)
# Everything installed is pinned by hash. `make` is not needed here, nor a compiler: all
# dependencies come as wheels. scripts/try-dockerfile builds and runs this without an engine.
ARG PYTHON_VERSION=3.11

FROM python:${PYTHON_VERSION}-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
# The environment lies where it will run, and has no pip of its own: nothing installs at run time.
RUN python3 -m venv /opt/build && python3 -m venv --without-pip /opt/appliance
COPY requirements-image.lock requirements-build.lock ./
RUN /opt/build/bin/pip install --require-hashes -r requirements-build.lock \
 && /opt/build/bin/pip --python /opt/appliance/bin/python install --require-hashes -r requirements-image.lock
COPY . .
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --no-index --wheel-dir /tmp/dist . \
 && /opt/build/bin/pip --python /opt/appliance/bin/python install --no-deps --no-index /tmp/dist/*.whl

FROM python:${PYTHON_VERSION}-slim
LABEL org.opencontainers.image.title="Upload Appliance" \
      org.opencontainers.image.description="The upload server for self-hosters and small teams: answers in milliseconds, processes behind it, loses nothing." \
      org.opencontainers.image.licenses="MIT"
# A fixed number, so that the owner of a mounted /data is known: chown 10001:10001.
RUN groupadd --gid 10001 appliance \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /data --shell /usr/sbin/nologin appliance \
 && install --directory --owner=10001 --group=10001 --mode=0750 /data
COPY --from=build /opt/appliance /opt/appliance
ENV PATH=/opt/appliance/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    APPLIANCE_HOST=0.0.0.0 \
    APPLIANCE_DATA_DIR=/data
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=15s \
  CMD ["python3", "-c", "import http.client, os, ssl, sys; at = ('127.0.0.1', int(os.environ.get('APPLIANCE_PORT', 8080))); c = http.client.HTTPSConnection(*at, timeout=4, context=ssl._create_unverified_context()) if os.environ.get('APPLIANCE_TLS_CERTIFICATE_FILE') else http.client.HTTPConnection(*at, timeout=4); c.request('GET', '/healthz'); sys.exit(c.getresponse().status != 200)"]
ENTRYPOINT ["appliance"]
CMD ["serve"]
