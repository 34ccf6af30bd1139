use super::*;

#[test]
fn profiles_are_valid_and_come_back_by_name() {
    for (name, _) in Layout::profiles() {
        let layout: Layout = name.parse().unwrap();
        assert_eq!(layout.to_string(), *name);
    }
}
