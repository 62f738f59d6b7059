# The tool servers, and the command line for a store in PostgreSQL. No torch, no compiler, no source tree.
# Built from the root of the repository: docker build -f docker/tools.Dockerfile -t palaestra-tools .

FROM python:3.11.13-slim-bookworm AS build
WORKDIR /source
# .dockerignore says what that is.
COPY . .
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .
RUN python -m venv /opt/palaestra \
    && /opt/palaestra/bin/pip install --no-cache-dir "$(echo /wheels/palaestra-*.whl)[postgres]"

FROM python:3.11.13-slim-bookworm
RUN useradd --uid 10001 --home-dir /tmp --no-create-home --shell /usr/sbin/nologin palaestra
COPY --from=build /opt/palaestra /opt/palaestra
ENV PATH=/opt/palaestra/bin:$PATH HOME=/tmp PYTHONUNBUFFERED=1
USER 10001:10001
EXPOSE 8420 8421
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8420/healthz', timeout=4)"]
ENTRYPOINT ["palaestra"]
# Each --allowed-host is a name clients use: of the service, and of each replica of a project called `palaestra`.
CMD ["serve", "--json", \
    "--host=0.0.0.0", "--port=8420", "--token-file=/run/secrets/agent", \
    "--control-host=0.0.0.0", "--control-port=8421", "--control-token-file=/run/secrets/control", \
    "--allowed-host=tools", \
    "--allowed-host=palaestra-tools-1", "--allowed-host=palaestra-tools-2", \
    "--allowed-host=palaestra-tools-3", "--allowed-host=palaestra-tools-4"]
