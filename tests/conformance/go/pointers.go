package main

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"
	"weak"
)

func init() {
	for id, scenario := range map[string]func() string{
		"W1/weak":       isWeak,
		"W2/value":      value,
		"W3/alive":      func() string { return equality(false) },
		"W3/dead":       func() string { return equality(true) },
		"W3/alike":      alike,
		"W3/hash-late":  lateHash,
		"W3/unhashable": unhashable,
		"W3/address":    sameAddress,
		"W4/interior":   offsets,
		"W5/collector":  inFinalizer,
		"W6/collector":  resurrectedPointer,
		"W7/cleanup":    func() string { return inCleanup(false) },
		"W7/finalizer":  func() string { return inCleanup(true) },
		"W8/null":       null,
		"W9/immortal":   immortalPointer,
		"W10/race":      race,
		"W10/threads":   madeAtOnce,
		"W11/map":       valueHoldsKey,
		"W11/value-map": keyHoldsValue,
		"W/small":       small,
	} {
		scenarios[id] = scenario
	}
}

//go:noinline
func pointerToNew() weak.Pointer[victim] { return weak.Make(&victim{number: 3}) }

// shows is not inlined: its caller could keep the value, and compare it with nil only later.
//
//go:noinline
func shows(wp weak.Pointer[victim]) string {
	return either(wp.Value() == nil, "nothing", "the object")
}

func equals(a, b weak.Pointer[victim]) string { return either(a == b, "equal", "unequal") }

func isWeak() string {
	wp := pointerToNew()
	runtime.GC()
	return either(wp.Value() == nil, "dead", "alive")
}

func value() string {
	v := &victim{}
	wp := weak.Make(v)
	seen := []string{either(wp.Value() == v, "the object", "nothing")}
	runtime.GC()
	seen = append(seen, either(wp.Value() == v, "the object", "nothing"))
	runtime.KeepAlive(v)
	v = nil
	runtime.GC()
	return strings.Join(append(seen, shows(wp)), ", ")
}

func equality(dead bool) string {
	a, b := &victim{}, &victim{}
	first, again, second := weak.Make(a), weak.Make(a), weak.Make(b)
	if dead {
		runtime.GC()
	}
	outcome := fmt.Sprintf("same: %s; another: %s", equals(first, again), equals(first, second))
	if !dead {
		runtime.KeepAlive(a)
		runtime.KeepAlive(b)
	}
	return outcome
}

func alike() string {
	a, b := &victim{state: "alike"}, &victim{state: "alike"}
	if *a != *b {
		return "the objects differ"
	}
	first, second := weak.Make(a), weak.Make(b)
	before := equals(first, second)
	runtime.GC()
	return before + ", then " + equals(first, second)
}

func lateHash() string {
	wp := pointerToNew()
	runtime.GC()
	table := map[weak.Pointer[victim]]bool{wp: true}
	return either(table[wp], "a hash", "none")
}

func unhashable() string {
	type slices struct{ s []int }
	v := &slices{}
	table := map[weak.Pointer[slices]]bool{weak.Make(v): true}
	return either(table[weak.Make(v)], "a hash", "none")
}

func sameAddress() string {
	old := map[uintptr]weak.Pointer[victim]{}
	for range 100 {
		for range 100 {
			v := &victim{number: 4}
			address := uintptr(unsafe.Pointer(v))
			if before, again := old[address]; again {
				return equals(before, weak.Make(v)) + ", and " +
					either(before.Value() == nil, "nothing", "an object")
			}
			old[address] = weak.Make(v)
		}
		runtime.GC()
	}
	return "no address was used twice"
}

func offsets() string {
	v := &struct{ a, b *int }{}
	return either(weak.Make(&v.a) == weak.Make(&v.b), "equal", "unequal")
}

func inFinalizer() string {
	seen := make(chan string, 1)
	var wp weak.Pointer[victim]
	func() {
		v := &victim{}
		wp = weak.Make(v)
		runtime.SetFinalizer(v, func(*victim) { seen <- shows(wp) })
	}()
	runtime.GC()
	return <-seen + ", then " + shows(wp)
}

func resurrectedPointer() string {
	back := make(chan *victim, 1)
	var old weak.Pointer[victim]
	func() {
		v := &victim{}
		old = weak.Make(v)
		runtime.SetFinalizer(v, func(v *victim) { back <- v })
	}()
	runtime.GC()
	v := <-back
	outcome := equals(old, weak.Make(v)) + ", the old one shows " + shows(old)
	runtime.KeepAlive(v)
	return outcome
}

func inCleanup(finalizer bool) string {
	seen := make(chan string, 1)
	var wp weak.Pointer[victim]
	func() {
		v := &victim{}
		wp = weak.Make(v)
		runtime.AddCleanup(v, func(int) { seen <- shows(wp) }, 1)
		if finalizer {
			runtime.SetFinalizer(v, func(*victim) { time.Sleep(200 * time.Millisecond) })
		}
	}()
	settle()
	return <-seen
}

func null() string {
	var zero weak.Pointer[victim]
	made := weak.Make[victim](nil)
	return shows(made) + ", " + equals(zero, made)
}

func immortalPointer() string {
	wp := weak.Make(&immortal)
	runtime.GC()
	runtime.GC()
	return shows(wp) + ", " + equals(wp, weak.Make(&immortal))
}

func race() string {
	var stop atomic.Bool
	var group sync.WaitGroup
	group.Go(func() {
		for !stop.Load() {
			runtime.GC()
		}
	})
	wrong := 0
	for number := range 300 {
		wp := func() weak.Pointer[victim] {
			v := &victim{number: number}
			v.itself = v
			return weak.Make(v)
		}()
		if v := wp.Value(); v != nil && (v.number != number || v.itself != v) {
			wrong++
		}
	}
	stop.Store(true)
	group.Wait()
	return either(wrong == 0, "the object or nothing, always", fmt.Sprintf("something else, %d times", wrong))
}

func madeAtOnce() string {
	victims := make([]*victim, 500)
	for i := range victims {
		victims[i] = &victim{number: i}
	}
	var made [4][500]weak.Pointer[victim]
	var group sync.WaitGroup
	for i := range made {
		group.Go(func() {
			for j, v := range victims {
				made[i][j] = weak.Make(v)
			}
		})
	}
	group.Wait()
	equal := 0
	for j, v := range victims {
		if made[0][j] == made[1][j] && made[1][j] == made[2][j] && made[2][j] == made[3][j] &&
			made[0][j].Value() == v {
			equal++
		}
	}
	return fmt.Sprintf("equal, %d times", equal)
}

func valueHoldsKey() string {
	table := map[weak.Pointer[victim]]*victim{}
	wp := func() weak.Pointer[victim] {
		v := &victim{}
		table[weak.Make(v)] = &victim{other: v}
		return weak.Make(v)
	}()
	runtime.GC()
	outcome := either(wp.Value() == nil, "dead", "leaks")
	runtime.KeepAlive(table)
	return outcome
}

func keyHoldsValue() string {
	cache := NewCache(func(key *victim) (*victim, error) { return key.other, nil })
	wp := func() weak.Pointer[victim] {
		v := &victim{}
		cache.Get(&victim{other: v})
		return weak.Make(v)
	}()
	settle()
	outcome := either(wp.Value() == nil, "dead", "leaks")
	runtime.KeepAlive(cache)
	return outcome
}

func small() string {
	var pointers [1000]weak.Pointer[int]
	for i := range pointers {
		n := new(int)
		*n = i
		pointers[i] = weak.Make(n)
	}
	runtime.GC()
	dead := 0
	for _, wp := range pointers {
		if wp.Value() == nil {
			dead++
		}
	}
	return either(dead >= 750, "at least 750", fmt.Sprint(dead))
}
