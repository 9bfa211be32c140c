package main

import (
	"runtime"
	"sync"
	"weak"
)

// Cache finds a value again for as long as something else holds it: in substance the cache of the
// post "From unique to cleanups and weak", which lets two goroutines that miss one key both create.
type Cache[K comparable, V any] struct {
	create func(K) (*V, error)
	values sync.Map // of weak.Pointer[V], by K
}

// NewCache makes a cache that creates its values with create.
func NewCache[K comparable, V any](create func(K) (*V, error)) *Cache[K, V] {
	return &Cache[K, V]{create: create}
}

// Get returns the living value of key, or creates it.
func (c *Cache[K, V]) Get(key K) (*V, error) {
	var created *V
	for {
		entry, found := c.values.Load(key)
		if !found {
			if created == nil {
				var err error
				if created, err = c.create(key); err != nil {
					return nil, err
				}
			}
			wp := weak.Make(created)
			if entry, found = c.values.LoadOrStore(key, wp); !found {
				runtime.AddCleanup(created, func(key K) { c.values.CompareAndDelete(key, wp) }, key)
				return created, nil
			}
		}
		if value := entry.(weak.Pointer[V]).Value(); value != nil {
			return value, nil
		}
		// The value is dead and its cleanup has not removed the entry yet.
		c.values.CompareAndDelete(key, entry)
	}
}
