package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/port"
)

// TestMain lets the scripts run this program itself. Passphrases cost next to nothing in them: scrypt's strength is tested in its place.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"anamnesis": func() {
			workFactor = 8
			main()
		},
	})
}

// TestScripts plays testdata/script/*.txtar against real networks. Besides the usual commands they have
//
//	freeport NAME            an address nobody listens on, into an environment variable, and its port into PORT
//	ready URL                wait until the custodians of a network hold their key
//	code N CMD…              CMD must exit with code N
//	poll CODE CMD…           run CMD again and again until it exits with CODE, for at most half a minute
//	get NAME PATH            from the JSON that the last command printed, such as 0.id, into an environment variable
//	fill FILE TEXT           write one line
//	hides FILE…              what the last command printed has no code and no date of birth that stands in a file, however it is spelt
//	flip FILE PLACE          change one byte; PLACE is a share of the file's length, such as 0.5
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		Deadline:            time.Now().Add(4 * time.Minute), // a command that should have ended would wait for ever
		RequireUniqueNames:  true,
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("ANAMNESIS_WALLET", filepath.Join(e.WorkDir, "ada.wallet"))
			e.Setenv("ANAMNESIS_PASSPHRASE", "correct horse battery staple")
			e.Setenv("DATA", dataDir())
			return nil
		},
		Condition: func(cond string) (bool, error) {
			if cond == "data" {
				return dataDir() != "", nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"freeport": freePort, "ready": ready, "code": code, "poll": poll, "get": get, "flip": flip, "fill": fill, "hides": hides,
		},
	})
}

// dataDir is the folder of shared test data, or "".
func dataDir() string {
	if dir := os.Getenv("ANAMNESIS_DATA"); dir != "" {
		return dir
	}
	dir, err := os.Getwd()
	if err != nil {
		return ""
	}
	for {
		at := filepath.Join(dir, "shared", "data")
		if info, err := os.Stat(at); err == nil && info.IsDir() {
			return at
		}
		up := filepath.Dir(dir)
		if up == dir {
			return ""
		}
		dir = up
	}
}

func freePort(ts *testscript.TestScript, _ bool, args []string) {
	k, err := port.Free("127.0.0.1")
	ts.Check(err)
	ts.Defer(k.Release)
	ts.Setenv(args[0], k.Address)
	ts.Setenv("PORT", k.Address[strings.LastIndexByte(k.Address, ':')+1:])
}

const patience = 30 * time.Second

func ready(ts *testscript.TestScript, _ bool, args []string) {
	last := errors.New("nothing answered")
	for until := time.Now().Add(patience); time.Now().Before(until); time.Sleep(50 * time.Millisecond) {
		var n api.Network
		if last = getJSON(args[0]+api.PathNetwork, &n); last != nil {
			continue
		}
		var h api.Health
		if last = getJSON(args[0]+api.PathHealth, &h); last == nil && n.Generation > 0 && h.OK {
			return
		}
	}
	ts.Fatalf("%s is not ready: %v", args[0], last)
}

func getJSON(url string, into any) error {
	res, err := http.Get(url)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	return json.NewDecoder(res.Body).Decode(into)
}

// exitCode is what a run ended with.
func exitCode(ts *testscript.TestScript, args []string) int {
	err := ts.Exec(args[0], args[1:]...)
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.ExitCode()
	}
	ts.Fatalf("%v: %v", args, err)
	return -1
}

func code(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	if got := exitCode(ts, args[1:]); got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

func poll(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := -1
	for until := time.Now().Add(patience); time.Now().Before(until); time.Sleep(100 * time.Millisecond) {
		if got = exitCode(ts, args[1:]); got == want {
			return
		}
	}
	ts.Fatalf("exit code %d after %v, want %d", got, patience, want)
}

func get(ts *testscript.TestScript, _ bool, args []string) {
	var v any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &v))
	for step := range strings.SplitSeq(args[1], ".") {
		switch at := v.(type) {
		case map[string]any:
			v = at[step]
		case []any:
			i, err := strconv.Atoi(step)
			ts.Check(err)
			if i < 0 {
				i += len(at)
			}
			if i < 0 || i >= len(at) {
				ts.Fatalf("%s: the list has %d elements", args[1], len(at))
			}
			v = at[i]
		}
	}
	if v == nil {
		ts.Fatalf("there is no %s", args[1])
	}
	if f, ok := v.(float64); ok {
		v = strconv.FormatFloat(f, 'f', -1, 64)
	}
	ts.Setenv(args[0], fmt.Sprint(v))
}

func flip(ts *testscript.TestScript, _ bool, args []string) {
	path := ts.MkAbs(args[0])
	raw, err := os.ReadFile(path)
	ts.Check(err)
	share, err := strconv.ParseFloat(args[1], 64)
	ts.Check(err)
	raw[int(share*float64(len(raw)-1))] ^= 1
	ts.Check(os.WriteFile(path, raw, 0o600))
}

var secretLine = regexp.MustCompile(`(?m)^(?:Code: )?([0-9A-Z]{5}-[0-9A-Z]{4}-[0-9A-Z]{5}-[0-9A-Z]{4}|[0-9]{4}-[0-9]{2}-[0-9]{2})$`)

func hides(ts *testscript.TestScript, _ bool, args []string) {
	plain := strings.NewReplacer("-", "", " ", "", "\n", "")
	said := plain.Replace(strings.ToUpper(ts.ReadFile("stdout") + ts.ReadFile("stderr")))
	for _, file := range args {
		found := secretLine.FindAllStringSubmatch(ts.ReadFile(file), -1)
		if len(found) == 0 {
			ts.Fatalf("%s has neither a code nor a date", file)
		}
		for _, m := range found {
			if strings.Contains(said, plain.Replace(m[1])) {
				ts.Fatalf("it was printed what %s holds: %s", file, m[1])
			}
		}
	}
}

func fill(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(args[1]+"\n"), 0o600))
}
