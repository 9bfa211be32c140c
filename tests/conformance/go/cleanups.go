package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/metrics"
	"slices"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
	"weak"
)

func init() {
	for id, scenario := range map[string]func() string{
		"C1/thread":                threadOfItsOwn,
		"C1/lock-collector":        underLock,
		"C1/argument":              withItsArgument,
		"C1/nil-argument":          nilArgument,
		"C3/many":                  threeOnOne,
		"C3/independent":           independent,
		"C3/interior":              interior,
		"C4/cycle":                 membersOfACycle,
		"C4/handle-in-cycle":       handleInTheGarbage,
		"C5/slow":                  slow,
		"C5/concurrent":            concurrent,
		"C6/argument":              heldByArgument,
		"C6/function":              heldByFunction,
		"C7/nil":                   forNothing,
		"C7/itself":                argumentIsObject,
		"C7/foreign":               unmanaged,
		"C8/closure":               closure,
		"C8/method":                method,
		"C8/container":             container,
		"C8/part":                  part,
		"C8/deeper":                deeper,
		"C9/collector":             afterFinalizer,
		"C9/resurrected-collector": resurrected,
		"C10/stop":                 func() string { return stopped(1) },
		"C10/thrice":               func() string { return stopped(3) },
		"C10/interleaved":          interleaved,
		"C10/late":                 stoppedLate,
		"C10/queued":               stoppedWhenQueued,
		"C11/handle":               handleIsWeak,
		"C11/handle-dropped":       handleDropped,
		"C12/alive":                argumentIsKept,
		"C12/stop":                 stopReleases,
		"C12/run":                  runReleases,
		"C13/types":                unwatchable,
		"C14/unused":               unusedLocal,
		"C14/keep-alive":           keptAlive,
		"C15/exception":            failing,
		"C16/ten":                  riseByTen,
		"C16/order":                snapshots,
		"C16/none-lost":            noneLost,
		"C17/exact":                detector,
		"D8/immortal-cleanup":      immortalCleanup,
	} {
		scenarios[id] = scenario
	}
	inner["C17/exact"] = faultyAndSound
	inner["C15/exception"] = func() {
		registerAndDrop(func(int) { panic("on purpose") }, 1)
		settle()
		fmt.Println("went on")
	}
}

// list collects from any goroutine.
type list[T any] struct {
	lock  sync.Mutex
	items []T
}

func (l *list[T]) add(item T) {
	l.lock.Lock()
	defer l.lock.Unlock()
	l.items = append(l.items, item)
}

func (l *list[T]) all() []T {
	l.lock.Lock()
	defer l.lock.Unlock()
	return slices.Clone(l.items)
}

//go:noinline
func registerAndDrop[S any](cleanup func(S), arg S) runtime.Cleanup {
	return runtime.AddCleanup(&victim{number: 1}, cleanup, arg)
}

func threadOfItsOwn() string {
	ran := make(chan string, 1)
	registerAndDrop(func(int) { ran <- goroutine() }, 1)
	runtime.GC()
	return either(<-ran == goroutine(), "the thread that dropped it", "another thread")
}

func underLock() string {
	var lock sync.Mutex
	ran := make(chan string, 1)
	lock.Lock()
	registerAndDrop(func(int) {
		lock.Lock()
		ran <- "ran"
		lock.Unlock()
	}, 1)
	runtime.GC()
	lock.Unlock()
	return <-ran
}

func withItsArgument() string {
	var seen list[int]
	registerAndDrop(seen.add, 97531)
	settle()
	if all := seen.all(); len(all) == 1 {
		return fmt.Sprint("ran once with ", all[0])
	}
	return fmt.Sprintf("ran %d times", len(seen.all()))
}

func nilArgument() string {
	var seen list[*int]
	registerAndDrop(seen.add, nil)
	settle()
	all := seen.all()
	return either(len(all) == 1 && all[0] == nil, "ran with nothing", "did not run")
}

func threeOnOne() string {
	var seen list[int]
	func() {
		v := &victim{}
		for range 3 {
			runtime.AddCleanup(v, seen.add, 97531)
		}
	}()
	settle()
	return fmt.Sprintf("%d ran", len(seen.all()))
}

func independent() string {
	var seen list[int]
	func() {
		v := &victim{}
		runtime.AddCleanup(v, seen.add, 1)
		second := runtime.AddCleanup(v, seen.add, 2)
		runtime.AddCleanup(v, seen.add, 3)
		second.Stop()
	}()
	settle()
	return joined(seen.all()) + " ran"
}

func joined(numbers []int) string {
	sort.Ints(numbers)
	return strings.ReplaceAll(strings.Trim(fmt.Sprint(numbers), "[]"), " ", " and ")
}

func interior() string {
	var seen list[int]
	func() {
		v := &struct {
			p       *int
			a, b, c int
		}{}
		runtime.AddCleanup(&v.a, seen.add, 1)
		runtime.AddCleanup(&v.b, seen.add, 2)
		runtime.AddCleanup(&v.c, seen.add, 3)
	}()
	settle()
	return fmt.Sprintf("%d ran", len(seen.all()))
}

func membersOfACycle() string {
	var seen list[string]
	func() {
		a, b := &victim{}, &victim{}
		a.other, b.other = b, a
		runtime.AddCleanup(a, seen.add, "a")
		runtime.AddCleanup(b, seen.add, "b")
	}()
	settle()
	all := seen.all()
	sort.Strings(all)
	return strings.Join(all, " and ") + " ran"
}

func handleInTheGarbage() string {
	type owner struct {
		cleanup runtime.Cleanup
		itself  *owner
	}
	var seen list[string]
	func() {
		v := &owner{}
		v.itself = v
		v.cleanup = runtime.AddCleanup(v, seen.add, "ran")
	}()
	settle()
	return either(len(seen.all()) == 1, "ran", "did not run")
}

func slow() string {
	goOn, seen := make(chan bool), make(chan string, 1)
	registerAndDrop(func(int) {
		select {
		case <-goOn:
			seen <- "the program went on"
		case <-time.After(2 * time.Second):
			seen <- "the program waited"
		}
	}, 1)
	runtime.GC()
	close(goOn)
	return <-seen
}

func concurrent() string {
	// The runtime has one goroutine for cleanups per four processors, and one at least.
	runtime.GOMAXPROCS(16)
	first, second := make(chan bool), make(chan bool)
	seen := make(chan string, 1)
	registerAndDrop(func(int) {
		close(first)
		select {
		case <-second:
			seen <- "both met"
		case <-time.After(2 * time.Second):
			seen <- "one after the other"
		}
	}, 1)
	runtime.GC()
	<-first
	var once sync.Once
	for {
		// Another goroutine for cleanups is started by the next registration after it was missed.
		registerAndDrop(func(int) { once.Do(func() { close(second) }) }, 1)
		runtime.GC()
		select {
		case outcome := <-seen:
			return outcome
		case <-time.After(time.Millisecond):
		}
	}
}

type box struct {
	held *box
	v    *victim
}

func fate(wp weak.Pointer[victim], ran *atomic.Bool) string {
	settle()
	return either(wp.Value() == nil, "dead", "alive") + ", " + either(ran.Load(), "run", "not run")
}

func heldByArgument() string {
	var ran atomic.Bool
	var wp weak.Pointer[victim]
	func() {
		v := &victim{}
		wp = weak.Make(v)
		runtime.AddCleanup(v, func(*box) { ran.Store(true) }, &box{held: &box{v: v}})
	}()
	return fate(wp, &ran)
}

func heldByFunction() string {
	var ran atomic.Bool
	var wp weak.Pointer[victim]
	func() {
		v := &victim{}
		wp = weak.Make(v)
		holder := &box{held: &box{v: v}}
		runtime.AddCleanup(v, func(int) { ran.Store(holder.held.v.number == 0) }, 1)
	}()
	return fate(wp, &ran)
}

func forNothing() string {
	return refused(func() { runtime.AddCleanup[victim](nil, func(int) {}, 1) })
}

func argumentIsObject() string {
	v := &victim{}
	return refused(func() { runtime.AddCleanup(v, func(*victim) {}, v) })
}

func unmanaged() string {
	memory, err := syscall.Mmap(-1, 0, 4096, syscall.PROT_READ, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		panic(err)
	}
	v := (*victim)(unsafe.Pointer(&memory[0]))
	return refused(func() { runtime.AddCleanup(v, func(int) {}, 1) })
}

func closure() string {
	v := &victim{}
	return refused(func() { runtime.AddCleanup(v, func(int) { fmt.Println(v.number) }, 0) })
}

func (v *victim) close(int) {}

func method() string {
	v := &victim{}
	return refused(func() { runtime.AddCleanup(v, v.close, 0) })
}

func container() string {
	v := &victim{}
	return refused(func() { runtime.AddCleanup(v, func([]*victim) {}, []*victim{v}) })
}

func part() string {
	v := &victim{}
	return refused(func() { runtime.AddCleanup(v, func(*int) {}, &v.number) })
}

func deeper() string {
	v := &victim{}
	return refused(func() { runtime.AddCleanup(v, func(*box) {}, &box{held: &box{v: v}}) })
}

func afterFinalizer() string {
	var seen list[string]
	func() {
		v := &victim{}
		runtime.AddCleanup(v, seen.add, "cleanup")
		runtime.SetFinalizer(v, func(*victim) {
			within(500*time.Millisecond, func() bool { return len(seen.all()) > 0 })
			seen.add("finalizer")
		})
	}()
	settle()
	settle()
	return strings.Join(seen.all(), ", ")
}

var kept *victim

func resurrected() string {
	var seen list[string]
	func() {
		v := &victim{}
		runtime.AddCleanup(v, seen.add, "cleanup")
		runtime.SetFinalizer(v, func(v *victim) { kept = v })
	}()
	settle()
	first := len(seen.all())
	kept = nil
	settle()
	return fmt.Sprintf("%d while resurrected, %d after", first, len(seen.all())-first)
}

func stopped(times int) string {
	var seen list[int]
	func() {
		v := &victim{}
		cleanup := runtime.AddCleanup(v, seen.add, 1)
		for range times {
			cleanup.Stop()
		}
		runtime.KeepAlive(v)
	}()
	settle()
	return either(len(seen.all()) > 0, "ran", "did not run")
}

func interleaved() string {
	var seen list[int]
	func() {
		v := &victim{}
		for _, number := range []int{1, 2, 1, 2, 1} {
			cleanup := runtime.AddCleanup(v, seen.add, number)
			if number == 2 {
				cleanup.Stop()
			}
		}
		runtime.KeepAlive(v)
	}()
	settle()
	return strings.Trim(fmt.Sprint(seen.all()), "[]")
}

func stoppedLate() string {
	var seen list[int]
	cleanup := registerAndDrop(seen.add, 1)
	settle()
	cleanup.Stop()
	settle()
	return either(len(seen.all()) == 1, "ran once", fmt.Sprintf("ran %d times", len(seen.all())))
}

func stoppedWhenQueued() string {
	gate, busy := make(chan bool), make(chan bool)
	registerAndDrop(func(int) {
		close(busy)
		<-gate
	}, 1)
	runtime.GC()
	<-busy
	var seen list[string]
	cleanup := registerAndDrop(seen.add, "ran")
	runtime.GC()
	cleanup.Stop()
	close(gate)
	settle()
	return either(len(seen.all()) == 1, "ran", "did not run")
}

func handleIsWeak() string {
	var wp weak.Pointer[victim]
	var handle runtime.Cleanup
	func() {
		v := &victim{}
		wp = weak.Make(v)
		handle = runtime.AddCleanup(v, func(int) {}, 1)
	}()
	settle()
	outcome := either(wp.Value() == nil, "dead", "alive")
	handle.Stop()
	return outcome
}

func handleDropped() string {
	var seen list[string]
	v := &victim{}
	runtime.AddCleanup(v, seen.add, "ran")
	runtime.GC()
	runtime.KeepAlive(v)
	settle()
	return either(len(seen.all()) == 1, "ran", "did not run")
}

//go:noinline
func withArgument(v *victim) (weak.Pointer[victim], runtime.Cleanup) {
	argument := &victim{number: 2}
	return weak.Make(argument), runtime.AddCleanup(v, func(*victim) {}, argument)
}

func argumentIsKept() string {
	v := &victim{}
	wp, _ := withArgument(v)
	runtime.GC()
	outcome := either(wp.Value() == nil, "dead", "alive")
	runtime.KeepAlive(v)
	return outcome
}

func stopReleases() string {
	v := &victim{}
	wp, cleanup := withArgument(v)
	cleanup.Stop()
	settle()
	outcome := either(wp.Value() == nil, "dead", "alive")
	runtime.KeepAlive(v)
	return outcome
}

func runReleases() string {
	wp, cleanup := withArgument(&victim{})
	settle()
	settle()
	outcome := either(wp.Value() == nil, "dead", "alive")
	cleanup.Stop()
	return outcome
}

func unwatchable() string {
	type empty struct{}
	v := new(empty)
	return refused(func() { runtime.AddCleanup(v, func(string) {}, "foo") })
}

func unusedLocal() string {
	var seen list[int]
	v := &victim{}
	runtime.AddCleanup(v, seen.add, 1)
	settle()
	return either(len(seen.all()) > 0, "dead", "alive")
}

func keptAlive() string {
	var seen list[int]
	v := &victim{}
	runtime.AddCleanup(v, seen.add, 1)
	settle()
	outcome := either(len(seen.all()) > 0, "dead", "alive")
	runtime.KeepAlive(v)
	return outcome
}

func failing() string {
	_, err := other("C15/exception")
	return either(err != nil, "the program ended", "the program went on")
}

func riseByTen() string {
	settle()
	q, e := queued("cleanups"), executed("cleanups")
	for range 10 {
		registerAndDrop(func(int) {}, 1)
	}
	settle()
	return fmt.Sprintf("queued %d, executed %d", queued("cleanups")-q, executed("cleanups")-e)
}

func snapshots() string {
	var stop atomic.Bool
	torn := make(chan int)
	go func() {
		wrong := 0
		samples := []metrics.Sample{
			{Name: "/gc/cleanups/executed:cleanups"}, {Name: "/gc/cleanups/queued:cleanups"},
		}
		var lastExecuted, lastQueued uint64
		for !stop.Load() {
			metrics.Read(samples)
			e, q := samples[0].Value.Uint64(), samples[1].Value.Uint64()
			if e > q || e < lastExecuted || q < lastQueued {
				wrong++
			}
			lastExecuted, lastQueued = e, q
		}
		torn <- wrong
	}()
	for range 2000 {
		registerAndDrop(func(int) {}, 1)
	}
	settle()
	stop.Store(true)
	return either(<-torn == 0, "held", "torn")
}

func noneLost() string {
	var ran atomic.Int64
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for range 10_000 {
				registerAndDrop(func(int) { ran.Add(1) }, 1)
			}
		})
	}
	group.Wait()
	settle()
	return fmt.Sprintf("%d ran", ran.Load())
}

// faultyAndSound registers one cleanup that holds its object two steps away, and one that doesn't.
func faultyAndSound() {
	faulty, sound := &victim{}, &victim{}
	holder, other := &box{held: &box{v: faulty}}, &box{held: &box{v: &victim{}}}
	runtime.AddCleanup(faulty, func(int) { fmt.Println(holder.held.v.number) }, 1)
	runtime.AddCleanup(sound, func(int) { fmt.Println(other.held.v.number) }, 1)
	runtime.GC()
	runtime.KeepAlive(faulty)
	runtime.KeepAlive(sound)
}

// detector reads what GODEBUG=checkfinalizers=1 writes before it ends the program.
func detector() string {
	program, err := os.Executable()
	if err != nil {
		panic(err)
	}
	child := exec.Command(program, "-inner", "C17/exact")
	child.Env = append(os.Environ(), "GODEBUG=checkfinalizers=1")
	report, err := child.CombinedOutput()
	if err == nil {
		return "nothing reported"
	}
	found, _, _ := strings.Cut(string(report), "fatal error")
	reported := strings.Count(found, "is reachable from")
	site := strings.Contains(found, "main.faultyAndSound()")
	return fmt.Sprintf("%d of 2 reported", reported) + either(site, ", with its site", "")
}

var immortal victim

func immortalCleanup() string {
	var seen list[int]
	runtime.AddCleanup(&immortal, seen.add, 1)
	settle()
	return either(len(seen.all()) > 0, "run", "not run")
}
