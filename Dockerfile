# Two images from one file; docs/images.md says what is in them.
#   docker build --target job        --build-arg GIT_COMMIT="$(git rev-parse HEAD)" --tag lorasweep-job .
#   docker build --target controller --build-arg GIT_COMMIT="$(git rev-parse HEAD)" --tag lorasweep-controller .

# Python 3.11 or newer with venv; nothing else of it is used.
ARG PYTHON_IMAGE=python:3.12-slim


FROM ${PYTHON_IMAGE} AS builder
# The base image's certificates count, so that a company's own CA needs to be in one place only.
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 UV_NO_CACHE=1 UV_SYSTEM_CERTS=1
WORKDIR /build
ARG PIP_INDEX_URL=""
COPY requirements/uv.txt requirements/build.txt requirements/
RUN python3 -m venv /opt/tools \
 && /opt/tools/bin/pip install --require-hashes --requirement requirements/uv.txt --requirement requirements/build.txt \
 && mkdir -p /opt/home && mkdir -m 1777 /opt/home/lorasweep


FROM builder AS job-packages
ARG UV_DEFAULT_INDEX=""
COPY requirements/job.txt requirements/
RUN python3 -m venv --without-pip /opt/venv \
 && /opt/tools/bin/uv pip install --python /opt/venv/bin/python --require-hashes --requirement requirements/job.txt
# Bytecode is made here, as no container may write any; a model's own code compiles in a moment when it is loaded.
RUN /opt/venv/bin/python -m compileall -q -j 0 -x '/tests?/|/testing/_internal/|/transformers/models/' /opt/venv/lib


FROM builder AS controller-packages
ARG UV_DEFAULT_INDEX=""
COPY requirements/controller.txt requirements/
RUN python3 -m venv --without-pip /opt/venv \
 && /opt/tools/bin/uv pip install --python /opt/venv/bin/python --require-hashes --requirement requirements/controller.txt
# Half of what these packages bring is tests, a second Kubernetes client, and services of AWS that are no store.
RUN cd /opt/venv/lib/python3*/site-packages \
 && rm -r kubernetes/aio \
 && find . -type d -name tests -prune -exec rm -r {} + \
 && find botocore/data -mindepth 1 -maxdepth 1 -type d \
      ! -name s3 ! -name signin ! -name sso ! -name sso-oidc ! -name sts -exec rm -r {} +
RUN /opt/venv/bin/python -m compileall -q -j 0 -x '/kubernetes/client/(api|models)/|/pygments/(lexers|styles)/' /opt/venv/lib


# The package as it is installed anywhere, with its version; without a cache of what it was made from.
FROM builder AS package
COPY pyproject.toml README.md LICENSE ./
COPY job/ job/
COPY controller/ controller/
RUN python3 -m venv --without-pip /opt/venv \
 && /opt/tools/bin/uv build --python /opt/tools/bin/python --no-build-isolation --wheel --out-dir dist \
 && /opt/tools/bin/uv pip install --python /opt/venv/bin/python --no-index --find-links dist --no-deps \
      --target /opt/lorasweep lorasweep \
 && rm -f /opt/lorasweep/.lock \
 && /opt/venv/bin/python -m compileall -q /opt/lorasweep


# The job's share of it. The list of files goes, since it names those of the controller.
FROM package AS job-package
RUN rm -r /opt/lorasweep/controller /opt/lorasweep/bin /opt/lorasweep/lorasweep-*.dist-info/RECORD


FROM ${PYTHON_IMAGE} AS runtime
# What is written goes to $HOME and /tmp: two emptyDirs where the root is read-only, and for any user. One without a
# name in /etc/passwd has none to ask for, which torch does, unless a variable says it.
ENV PATH=/opt/venv/bin:/opt/lorasweep/bin:${PATH:-/usr/local/bin:/usr/bin:/bin} \
    PYTHONPATH=/opt/lorasweep \
    PYTHONSAFEPATH=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/home/lorasweep \
    USER=lorasweep \
    XDG_CACHE_HOME=/home/lorasweep/.cache \
    XDG_STATE_HOME=/home/lorasweep/.local/state \
    HF_HOME=/home/lorasweep/.cache/huggingface
COPY --from=builder /opt/home/ /home/
WORKDIR /home/lorasweep
USER 65532:65532
LABEL org.opencontainers.image.licenses=Apache-2.0 \
      org.opencontainers.image.version=0.1.0


FROM runtime AS job
ENV TORCHINDUCTOR_CACHE_DIR=/home/lorasweep/.cache/torchinductor \
    TRITON_CACHE_DIR=/home/lorasweep/.cache/triton \
    CUDA_CACHE_PATH=/home/lorasweep/.cache/cuda
LABEL org.opencontainers.image.title="lorasweep job" \
      org.opencontainers.image.description="Fine-tunes and evaluates the trials of one request."
COPY --from=job-packages /opt/venv /opt/venv
COPY --from=job-package /opt/lorasweep /opt/lorasweep
ARG GIT_COMMIT=""
ENV LORASWEEP_GIT_COMMIT=${GIT_COMMIT}
LABEL org.opencontainers.image.revision=${GIT_COMMIT}
ENTRYPOINT ["python", "-m", "job"]


FROM runtime AS controller
LABEL org.opencontainers.image.title="lorasweep controller" \
      org.opencontainers.image.description="Plans a sweep, runs its trials as Jobs and writes the report."
COPY --from=controller-packages /opt/venv /opt/venv
COPY --from=package /opt/lorasweep /opt/lorasweep
ARG GIT_COMMIT=""
ENV LORASWEEP_GIT_COMMIT=${GIT_COMMIT}
LABEL org.opencontainers.image.revision=${GIT_COMMIT}
ENTRYPOINT ["lorasweep"]
