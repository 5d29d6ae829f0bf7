package config

import "reflect"

// Changes names the keys whose values differ, such as "listen.mx", in the order of the example. A list of tables is one
// key.
func Changes(a, b Config) []string {
	return changes("", reflect.ValueOf(a), reflect.ValueOf(b))
}

func changes(prefix string, a, b reflect.Value) []string {
	var keys []string
	for i := range a.NumField() {
		f := a.Type().Field(i)
		key := prefix + f.Tag.Get("toml")
		switch {
		case f.Type.Kind() == reflect.Struct:
			keys = append(keys, changes(key+".", a.Field(i), b.Field(i))...)
		case (f.Type.Kind() == reflect.Slice || f.Type.Kind() == reflect.Map) && a.Field(i).Len() == 0 && b.Field(i).Len() == 0:
		case !reflect.DeepEqual(a.Field(i).Interface(), b.Field(i).Interface()):
			keys = append(keys, key)
		}
	}
	return keys
}
