#!/bin/sh
# Runs all that needs a GPU, without network: doctor, the benchmark, the tests of `make test-gpu`.
#
#   PYTHON=python3 OUT=results sh run.sh [options of python -m benchmarks.gpu, such as --minutes 8 or --on-cpu]
#
# PYTHON has the packages of requirements.lock; nothing is installed. Each stage has a time limit (the benchmark keeps its
# time itself, too), a failed one does not stop the next, and all output is in $OUT. STAGES chooses: STAGES="doctor
# benchmark". Ends with 1 if a stage failed.
set -u
cd "$(dirname "$0")" || exit 2
PYTHON=${PYTHON:-python3}
OUT=${OUT:-results}
STAGES=${STAGES:-doctor benchmark tests}
mkdir -p "$OUT" || exit 2
OUT=$(cd "$OUT" && pwd)
PYTHONPATH=$(pwd)${PYTHONPATH:+:$PYTHONPATH}
export OUT PYTHONPATH
cat COMMIT >"$OUT/commit.txt" 2>/dev/null
: >"$OUT/stages.txt"
failed=0

stage() { # NAME SECONDS COMMAND...
    name=$1 limit=$2
    shift 2
    case " $STAGES " in *" $name "*) ;; *) return 0 ;; esac
    echo "== $name, at most $limit s"
    began=$(date +%s)
    timeout --kill-after=30 "$limit" "$@" >"$OUT/$name.txt" 2>&1
    code=$?
    [ "$code" = 0 ] || failed=1
    tail -n 40 "$OUT/$name.txt"
    echo "$name: exit code $code after $(($(date +%s) - began)) s" | tee -a "$OUT/stages.txt"
}

stage doctor 120 "$PYTHON" -m runner doctor --uri "sqlite:///$OUT/mlflow.db"
stage benchmark "${BENCHMARK_S:-3600}" "$PYTHON" -m benchmarks.gpu --out "$OUT" "$@"
stage tests "${TESTS_S:-900}" "$PYTHON" -m pytest tests/gpu -m gpu -o addopts= -q -rs --junitxml "$OUT/tests.xml"
exit "$failed"
