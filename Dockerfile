# The Dichroic server. Build: make image (CPU) or make image RUNTIME=gpu; run:
#   docker run --rm -p 3000:3000 -p 50051:50051 [--gpus all] [-v "$PWD/bundles:/bundles:ro"] [-v dichroic-sessions:/sessions] dichroic:cpu
# It runs as a user without a name or a home, on a read-only root (--read-only --tmpfs /tmp), and writes to /tmp and, once a session is made, to
# /sessions: without a volume there, sessions are gone with the container, and with a read-only root none can be made.
ARG BASE_IMAGE=python:3.11-slim

FROM ${BASE_IMAGE} AS build
ARG RUNTIME=cpu
RUN case "${RUNTIME}" in cpu|gpu) ;; *) echo "RUNTIME must be cpu or gpu, not '${RUNTIME}'" >&2; exit 2 ;; esac
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_COMPILE=1
WORKDIR /src
RUN python -m venv /opt/venv
# The dependencies come first, under an empty package, so that a change of the code does not fetch them again.
COPY pyproject.toml constraints.txt LICENSE ./
RUN mkdir dichroic && touch dichroic/__init__.py README.md \
 && /opt/venv/bin/pip install --quiet --constraint constraints.txt ".[serving-${RUNTIME}]" \
 && /opt/venv/bin/pip uninstall --quiet --yes dichroic && rm -r dichroic build *.egg-info
COPY README.md ./
COPY dichroic ./dichroic
RUN /opt/venv/bin/pip install --quiet --no-deps . \
 && /opt/venv/bin/pip uninstall --quiet --yes pip setuptools
# A fifth of the environment that serving never opens: conformance data, numpy's own tests, and on the CPU the runtime's second copy, made for C programs.
RUN cd /opt/venv/lib/python3*/site-packages \
 && rm -rf onnx/backend/test/data && find numpy -type d -name tests -prune -exec rm -r {} + \
 && if [ "${RUNTIME}" = cpu ]; then rm -f onnxruntime/capi/libonnxruntime.so.*; fi
COPY services /app/services
# Hash-checked byte code stays valid whatever a layer does to modification times, and a read-only root cannot write any later.
RUN /opt/venv/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/venv/lib /app
RUN mkdir /empty

FROM ${BASE_IMAGE}
ARG RUNTIME=cpu
ARG REVISION=unknown
LABEL org.opencontainers.image.title="dichroic" \
      org.opencontainers.image.description="A model server for running microscopes (${RUNTIME})" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="MIT"
COPY --from=build /opt/venv /opt/venv
COPY --from=build /app /app
COPY bundles /bundles
# A new volume takes its owner from what it covers.
COPY --from=build --chown=10001:10001 /empty /sessions
ENV PATH=/opt/venv/bin:${PATH} HOME=/tmp \
    PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    BENTOML_HOME=/tmp/bentoml BENTOML_DO_NOT_TRACK=True ORT_DISABLE_TELEMETRY=1 \
    DICHROIC_HOST=0.0.0.0 DICHROIC_HTTP_PORT=3000 DICHROIC_GRPC_PORT=50051 DICHROIC_BUNDLES=/bundles DICHROIC_SESSIONS=/sessions \
    NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
WORKDIR /app
USER 10001:10001
# An image that cannot import its service, or holds what belongs to training, is not built.
RUN BENTOML_HOME=/tmp/check python -c "import importlib.util, sys, services.service; \
found = [name for name in ('torch', 'gpytorch', 'training', 'matplotlib', 'pip') if name in sys.modules or importlib.util.find_spec(name)]; \
sys.exit(f'the image must not hold {found}' if found else 0)" \
 && rm -rf /tmp/check
EXPOSE 3000 50051
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 \
  CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen('http://127.0.0.1:' + os.environ['DICHROIC_HTTP_PORT'] + '/readyz', timeout=2)"]
ENTRYPOINT ["python", "-m", "services"]
