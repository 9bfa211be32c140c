package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
	"weak"
)

func init() {
	for id, scenario := range map[string]func() string{
		"T1/beside":           beside,
		"T2/baseline":         baseline,
		"T3/queues":           queuesOnly,
		"T4/chain":            finalizerChain,
		"T5/threads":          racing,
		"T6/while-collecting": whileCollecting,
		"T7/frame":            frames,
		"T8/refcount":         func() string { return withoutCollector(false) },
		"T8/collector":        func() string { return withoutCollector(true) },
		"D2/collector":        resurrection,
		"D2/cycle":            finalizersInACycle,
		"D4/thread-collector": finalizerThread,
		"D6/deep":             deep,
		"E1/alive":            func() string { return atExit("E1/alive", "not run") },
		"E1/queued":           func() string { return atExit("E1/queued", "not started") },
		"E2/global":           func() string { return atExit("E2/global", "not called") },
		"E2/daemon":           func() string { return atExit("E2/daemon", "not called") },
	} {
		scenarios[id] = scenario
	}
	inner["E1/alive"] = func() {
		v := &victim{}
		runtime.AddCleanup(v, tell, "run")
		held = v
	}
	inner["E1/queued"] = func() {
		started := make(chan bool)
		registerAndDrop(func(int) {
			tell("started")
			close(started)
			time.Sleep(300 * time.Millisecond)
			tell("finished")
		}, 1)
		runtime.GC()
		<-started
	}
	inner["E2/global"] = func() {
		held = &victim{}
		runtime.SetFinalizer(held, func(*victim) { tell("called") })
	}
	inner["E2/daemon"] = func() {
		ready := make(chan bool)
		go func() {
			v := &victim{}
			runtime.SetFinalizer(v, func(*victim) { tell("called") })
			close(ready)
			select {}
		}()
		<-ready
	}
}

var held *victim

func tell(what string) { fmt.Fprintln(os.Stdout, what) }

func atExit(id, nothing string) string {
	output, err := other(id)
	if err != nil {
		return err.Error()
	}
	return either(output == "", nothing, output)
}

func beside() string {
	table := map[string]*victim{"victim": {number: 8}}
	wp := weak.Make(table["victim"])
	seen, leave, left := make(chan bool), make(chan bool), make(chan bool)
	go func() {
		v := table["victim"]
		close(seen)
		<-leave
		runtime.KeepAlive(v)
		close(left)
	}()
	<-seen
	clear(table)
	runtime.GC()
	during := either(wp.Value() == nil, "dead", "alive")
	close(leave)
	<-left
	runtime.GC()
	return during + ", then " + either(wp.Value() == nil, "dead", "alive")
}

func baseline() string {
	var ran atomic.Int64
	registerAndDrop(func(int) { ran.Add(1) }, 1)
	settle()
	before := either(ran.Load() == 1, "gone before", "left")
	settle()
	return before + ", " + either(ran.Load() == 1, "nothing", "something") + " after"
}

func queuesOnly() string {
	gate, busy := make(chan bool), make(chan bool)
	registerAndDrop(func(int) {
		close(busy)
		<-gate
	}, 1)
	runtime.GC()
	<-busy
	var ran atomic.Bool
	var wp weak.Pointer[victim]
	func() {
		v := &victim{}
		wp = weak.Make(v)
		runtime.AddCleanup(v, func(int) { ran.Store(true) }, 1)
	}()
	runtime.GC()
	dead, after := either(wp.Value() == nil, "dead", "alive"), either(ran.Load(), "run", "not run")
	close(gate)
	settle()
	return dead + ", " + after + "; " + either(ran.Load(), "run", "not run") + " later"
}

func finalizerChain() string {
	var lock sync.Mutex
	table := map[int]*victim{}
	var dead atomic.Int64
	func() {
		for n := range 3 {
			v := &victim{number: n}
			runtime.SetFinalizer(v, func(v *victim) {
				lock.Lock()
				defer lock.Unlock()
				delete(table, v.number+1)
				dead.Add(1)
			})
			table[n] = v
		}
		delete(table, 0)
	}()
	debug.SetGCPercent(-1)
	for n := range 8 {
		runtime.GC()
		until(func() bool { return queued("finalizers") == executed("finalizers") })
		if dead.Load() == 3 {
			return fmt.Sprintf("%d collections", n+1)
		}
	}
	return fmt.Sprintf("%d dead after 8 collections", dead.Load())
}

func racing() string {
	var seen sync.Map
	var ran, twice atomic.Int64
	var group sync.WaitGroup
	for i := range 4 {
		group.Go(func() {
			for n := range 1000 {
				registerAndDrop(func(id int) {
					ran.Add(1)
					if _, again := seen.LoadOrStore(id, true); again {
						twice.Add(1)
					}
				}, i*1000+n)
			}
		})
	}
	group.Wait()
	settle()
	return fmt.Sprintf("%d cleanups, %s", ran.Load(), either(twice.Load() == 0, "each once", "some twice"))
}

func whileCollecting() string {
	var stop atomic.Bool
	var group sync.WaitGroup
	group.Go(func() {
		for !stop.Load() {
			runtime.GC()
		}
	})
	wp := pointerToNew()
	runtime.GC()
	outcome := either(wp.Value() == nil, "dead", "alive")
	stop.Store(true)
	group.Wait()
	return outcome
}

func frames() string {
	v := &victim{}
	own, helper := weak.Make(v), pointerToNew()
	runtime.GC()
	return "own frame: " + either(own.Value() == nil, "dead", "alive") +
		"; helper: " + either(helper.Value() == nil, "dead", "alive")
}

func withoutCollector(cycle bool) string {
	debug.SetGCPercent(-1)
	wp := func() weak.Pointer[victim] {
		v := &victim{number: 9}
		if cycle {
			v.itself = v
		}
		return weak.Make(v)
	}()
	if wp.Value() == nil {
		return "at once"
	}
	runtime.GC()
	return either(wp.Value() == nil, "by the collector", "never")
}

func resurrection() string {
	back := make(chan *victim, 2)
	var calls atomic.Int64
	func() {
		v := &victim{state: "whole"}
		runtime.SetFinalizer(v, func(v *victim) {
			calls.Add(1)
			back <- v
		})
	}()
	runtime.GC()
	state := (<-back).state
	settle()
	return state + ", finalizer called " + either(calls.Load() == 1, "once", fmt.Sprintf("%d times", calls.Load()))
}

func finalizersInACycle() string {
	var calls atomic.Int64
	wps := func() [2]weak.Pointer[victim] {
		a, b := &victim{}, &victim{}
		a.other, b.other = b, a
		for _, v := range []*victim{a, b} {
			runtime.SetFinalizer(v, func(*victim) { calls.Add(1) })
		}
		return [2]weak.Pointer[victim]{weak.Make(a), weak.Make(b)}
	}()
	settle()
	called := []string{"none", "one", "both"}[calls.Load()]
	dead := wps[0].Value() == nil && wps[1].Value() == nil
	return called + " called, " + either(dead, "both dead", "both alive")
}

func finalizerThread() string {
	ran := make(chan string, 1)
	func() {
		runtime.SetFinalizer(&victim{number: 10}, func(*victim) { ran <- goroutine() })
	}()
	runtime.GC()
	return either(<-ran == goroutine(), "the collecting thread", "a thread of its own")
}

func deep() string {
	wp := func() weak.Pointer[victim] {
		last := &victim{}
		head := last
		for range 200_000 {
			head = &victim{other: head}
		}
		runtime.KeepAlive(head)
		return weak.Make(last)
	}()
	runtime.GC()
	return either(wp.Value() == nil, "dead", "alive")
}
