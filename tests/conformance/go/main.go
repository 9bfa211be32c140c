// Command conformance tries the promises of the catalogue on Go's runtime.
//
//	conformance -list          the ids of the scenarios
//	conformance ID             one scenario: prints its outcome as a line of JSON
//	conformance -inner ID      the part of a scenario that ends its own process
//	conformance -life PATH     one mapping's life, between two marks for strace
//	conformance -bench         what a cache hit and a registration cost, as JSON
//
// A scenario is a process of its own, and returns what was observed in the words that the Python
// scenario of the same id uses.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/metrics"
	"slices"
	"strings"
	"time"
)

var scenarios = map[string]func() string{}

// inner holds what a scenario runs in another process, whose output it reads.
var inner = map[string]func(){}

func main() {
	switch {
	case len(os.Args) == 2 && os.Args[1] == "-list":
		for _, id := range slices.Sorted(keys(scenarios)) {
			fmt.Println(id)
		}
	case len(os.Args) == 2 && os.Args[1] == "-bench":
		say(bench())
	case len(os.Args) == 3 && os.Args[1] == "-life":
		oneLife(os.Args[2])
	case len(os.Args) == 3 && os.Args[1] == "-inner":
		inner[os.Args[2]]()
	case len(os.Args) == 2 && scenarios[os.Args[1]] != nil:
		say(map[string]string{"outcome": scenarios[os.Args[1]]()})
	case len(os.Args) == 2:
		fmt.Fprintln(os.Stderr, "no such scenario:", os.Args[1])
		os.Exit(2)
	}
}

func keys[V any](m map[string]V) func(func(string) bool) {
	return func(yield func(string) bool) {
		for key := range m {
			if !yield(key) {
				return
			}
		}
	}
}

func say(answer any) {
	text, err := json.Marshal(answer)
	if err != nil {
		panic(err)
	}
	fmt.Printf("@%s\n", text)
}

// victim has a pointer, so that it does not share a block with other tiny objects.
type victim struct {
	itself *victim
	other  *victim
	number int
	state  string
}

// settle collects until every cleanup and finalizer that was queued has run.
func settle() {
	for range 3 {
		runtime.GC()
		until(func() bool { return queued("cleanups") == executed("cleanups") })
		until(func() bool { return queued("finalizers") == executed("finalizers") })
	}
}

func queued(kind string) uint64   { return count(kind, "queued") }
func executed(kind string) uint64 { return count(kind, "executed") }

func count(kind, what string) uint64 {
	sample := []metrics.Sample{{Name: "/gc/" + kind + "/" + what + ":" + kind}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// until waits for a condition, and says whether it came true within five seconds.
func until(condition func() bool) bool {
	return within(5*time.Second, condition)
}

func within(limit time.Duration, condition func() bool) bool {
	for deadline := time.Now().Add(limit); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}

// refused says whether a registration panicked.
func refused(register func()) (outcome string) {
	defer func() {
		if recover() != nil {
			outcome = "refused"
		}
	}()
	register()
	return "accepted"
}

// other runs the inner part of a scenario in another process: what it printed, and how it ended.
func other(id string) (output string, err error) {
	program, err := os.Executable()
	if err != nil {
		panic(err)
	}
	var printed bytes.Buffer
	child := exec.Command(program, "-inner", id)
	child.Stdout = &printed
	err = child.Run()
	return strings.Join(strings.Fields(printed.String()), ", "), err
}

func either(condition bool, yes, no string) string {
	if condition {
		return yes
	}
	return no
}

// goroutine is the number of the running goroutine, which Go tells in stack traces alone.
func goroutine() string {
	stack := make([]byte, 64)
	stack = stack[:runtime.Stack(stack, false)]
	return strings.Fields(string(stack))[1]
}
